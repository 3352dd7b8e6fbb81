/** The load generator where wrk is not installed; its last line is like wrk's. Arguments: address, connections, tokens. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Load } from "./load.ts";

interface Client {
	setRequests(requests: object[]): void;
}
interface Result {
	"2xx": number;
	non2xx: number;
	errors: number;
}
type Running = Promise<Result> & { stop(): void };
const autocannon = createRequire(import.meta.url)("autocannon") as (options: object) => Running;

const [url = "", connections = "", what = "{}"] = process.argv.slice(2);
const { tokens: from, fresh } = JSON.parse(what) as Pick<Load, "tokens" | "fresh">;
const tokens = "one" in from ? [from.one] : readFileSync(from.file, "utf8").trim().split("\n");
const clients = Number(connections);
let client = 0;

const running = autocannon({
	url,
	connections: clients,
	// Between two looks at whether it shall end, as often as wrk looks.
	sampleInt: 100,
	...(fresh ? { amount: tokens.length } : { duration: 60 }),
	setupClient: (one: Client) => {
		// Each connection gets its own share: together they send every token in turn.
		const share = tokens.filter((_, index) => tokens.length < clients || index % clients === client);
		client++;
		one.setRequests(share.map((token) => ({ method: "GET", headers: { authorization: `Bearer ${token}` } })));
	},
});
process.once("SIGINT", () => running.stop());
const result = await running;
console.log(`${result["2xx"]} requests in all`);
if (result.non2xx > 0) console.log(`Non-2xx responses: ${result.non2xx}`);
if (result.errors > 0) console.log(`Socket errors: ${result.errors}`);
