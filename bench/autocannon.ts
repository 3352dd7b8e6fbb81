/** The load generator where wrk is not installed, with the arguments and the last line of rotate.lua's wrk. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

interface Client {
	setRequests(requests: object[]): void;
}
interface Result {
	"2xx": number;
	non2xx: number;
	errors: number;
}
const autocannon = createRequire(import.meta.url)("autocannon") as (options: object) => Promise<Result>;

const [url = "", file = "", mode = "", seconds = "", connections = ""] = process.argv.slice(2);
const tokens = readFileSync(file, "utf8").trim().split("\n");
const clients = Number(connections);
let client = 0;

const result = await autocannon({
	url,
	connections: clients,
	...(mode === "once" ? { amount: Math.max(tokens.length, clients) } : { duration: Number(seconds) }),
	setupClient: (one: Client) => {
		// Each connection gets its own share: together they send every token in turn.
		const share = tokens.filter((_, index) => tokens.length < clients || index % clients === client);
		client++;
		one.setRequests(share.map((token) => ({ method: "GET", headers: { authorization: `Bearer ${token}` } })));
	},
});
console.log(`${result["2xx"]} requests in ${seconds}s`);
if (result.non2xx > 0) console.log(`Non-2xx responses: ${result.non2xx}`);
if (result.errors > 0) console.log(`Socket errors: ${result.errors}`);
