/** Two processes over one PostgreSQL: a session that one of them ends is refused by the other within a second (row V02). */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { rootAccount, startServer, type TokenPair, testSecret } from "../support/process.ts";
import { full } from "../support/rounds.ts";
import { openStoreLocation } from "../support/stores.ts";

const times = full ? 500 : 20;
/** Rounds that run at once: each waits for a poll of the other process. */
const lanes = 5;
const boundMs = 1000;
t.setTimeout(120_000 + times * 1_000);

t.test(
	`V02: a logout at one process is known to the other within a second, ${times} times`,
	{ timeout: 600_000 },
	async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, "postgres");
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, SECRET: testSecret, ...rootAccount };
		const [one, other] = await Promise.all([startServer(t, settings), startServer(t, settings)]);
		// Before the first delay is measured: a login keeps both cores busy.
		const sessions: TokenPair[] = [];
		while (sessions.length < times) sessions.push(await one.pairFor("root"));
		const delaysMs: number[] = [];

		async function round({ access_token: token, refresh_token }: TokenPair): Promise<void> {
			t.equal((await other.get("/protected", token)).status, 200, "both accept it before");
			t.equal((await one.post("/logout", {}, token)).status, 204);
			const began = performance.now();
			t.equal((await one.get("/protected", token)).status, 401, "the process that ended it refuses it at once");
			t.equal((await other.post("/refresh", { refresh_token })).status, 401, "a refresh asks the store: nobody waits");
			while ((await other.get("/protected", token)).status !== 401 && performance.now() - began < 5 * boundMs)
				await sleep(10);
			delaysMs.push(Math.round(performance.now() - began));
		}
		await Promise.all(
			Array.from({ length: lanes }, async () => {
				for (let session = sessions.pop(); session; session = sessions.pop()) await round(session);
			}),
		);
		t.comment(`refused after at most ${Math.max(...delaysMs)} ms; all: ${delaysMs.sort((a, b) => a - b).join(", ")}`);
		t.equal(delaysMs.length, times);
		t.ok(Math.max(...delaysMs) <= boundMs, "within a second");
	},
);
