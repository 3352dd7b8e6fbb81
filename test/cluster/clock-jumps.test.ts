/** A clock that jumps while the service runs: Debian's faketime, which takes the time from a file. */
import { existsSync, globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { TokenPair } from "../support/process.ts";
import { progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { startUnder } from "./support/single.ts";

const library = globSync("/usr/lib/*/faketime/libfaketime.so.1").find((file) => existsSync(file));
const needsFaketime = library === undefined ? { skip: "needs faketime (apt-get install faketime)" } : {};

t.test(
	"Z22, fault 17: the clock jumps back an hour, forth again, and on by a day: no crash, nobody is logged out",
	needsFaketime,
	async (t) => {
		const folder = temporaryFolder(t);
		const file = join(folder, "clock");
		const jump = (offset: string) => writeFileSync(file, `${offset}\n`);
		jump("+0");
		const server = await startUnder(
			t,
			[
				"env",
				`LD_PRELOAD=${library}`,
				`FAKETIME_TIMESTAMP_FILE=${file}`,
				"FAKETIME_NO_CACHE=1",
				// Timers and durations stay what they are: so it is on a real machine.
				"FAKETIME_DONT_FAKE_MONOTONIC=1",
			],
			{ DATA_DIR: join(folder, "data") },
		);
		let pair: TokenPair = await server.pairFor("root");
		const check = async (token: string) => (await server.get("/protected", token)).status;
		const refresh = async (what: string) => {
			const answer = await server.post("/refresh", { refresh_token: pair.refresh_token });
			t.equal(answer.status, 200, `${what}: the session goes on`);
			pair = (await answer.json()) as TokenPair;
			t.equal(await check(pair.access_token), 200, `${what}: with a token that is accepted`);
		};
		const steps: [what: string, offset: string][] = [
			["an hour back", "-3600"],
			["and forth again", "+0"],
			["a day on", "+86400"],
			["and back", "+0"],
		];
		for (const [what, offset] of steps) {
			const before = pair.access_token;
			const guess = async () => (await server.login("root", "not the password at all")).status;
			let tries = 0;
			while ((await guess()) === 401 && tries < 10) tries++;
			t.equal(await guess(), 429, `${what}: after ${tries} guesses the account is limited`);
			jump(offset);
			t.equal((await server.get("/livez")).status, 200, `${what}: it lives`);
			t.equal((await server.get("/readyz")).status, 200, `${what}: it is ready`);
			const status = await check(before);
			progress(`${what}: the token from before answers ${status}`);
			if (what === "a day on") t.equal(status, 401, "what has expired by now is refused");
			await refresh(what);
			t.equal((await server.login("root")).status, 200, `${what}: logins go on, no limit is frozen`);
			t.equal((await server.get("/.well-known/jwks.json")).status, 200);
		}
		t.notMatch(server.stdout(), /"level":60|was frozen/, "nor does it think that it stood still");
		server.signal("SIGTERM");
		t.equal((await server.ended).code, 0, "and it ends in its usual time");
	},
);
