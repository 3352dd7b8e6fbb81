/** Processes of the service and of PostgreSQL are killed under load, at any moment: nothing that was acknowledged is lost. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { freePort } from "../support/free-port.ts";
import { rootAccount, run, type Settings, startServer } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createLedger } from "./support/ledger.ts";
import { failures, startLoad, summary } from "./support/load.ts";
import { untilLogin } from "./support/outage.ts";
import { needs } from "./support/packages.ts";
import { addUsers, commonSettings, startReplicas } from "./support/replicas.ts";

const writers = 6;
/** Longer than a revocation takes to reach every replica. */
const knownMs = 1000;
/** Logins that broke off and passwords in doubt count as wrong ones: after many kills nobody could log in. */
const forgetDoubts = "delete from login_tries";

t.test(
	"Z05, faults 1 and 4: no acknowledged write is lost, whichever process is killed, and the other replicas serve on",
	needs("haproxy"),
	async (t) => {
		const database = await startDatabase(t);
		// The kills take twenty minutes, longer than a token lives otherwise.
		const replicas = await startReplicas(t, database.url, { settings: { ACCESS_TOKEN_SECONDS: "86400" } });
		const { url } = await startBalancer(
			t,
			replicas.map(({ port }) => port),
		);
		const names = await addUsers(database, writers + 2);
		const ledgers = names.slice(0, writers).map((name) => createLedger(url, name));
		for (const { close } of ledgers) t.teardown(close);
		const reading = { perSecond: 50, sessions: 4, mix: { protected: 100, refresh: 0, login: 0 } };
		const load = await startLoad(t, url, names.slice(writers), reading);
		const broken = () =>
			ledgers
				.flatMap(({ outcomes }) => [...outcomes])
				.reduce((sum, [what, n]) => sum + (/ (20\d|401|403)$/.test(what) ? 0 : n), 0);

		// A hundred of a replica, and as many of PostgreSQL in between.
		const kills = rounds(200);
		let checked = 0;
		for (let kill = 1; kill <= kills; kill++) {
			const before = broken();
			for (const ledger of ledgers) ledger.begin();
			await sleep(300 + Math.random() * 1000);
			const victim = kill % 2 ? replicas[Math.floor(Math.random() * replicas.length)] : undefined;
			if (victim) {
				await victim.kill();
				await sleep(500);
				// Each writer has one request under way: no more of them can have been in the replica that died.
				t.ok(broken() - before <= writers, `only what the replica had in hand was lost: ${broken() - before} requests`);
				await victim.start();
			} else {
				await database.kill();
				await sleep(Math.random() * 500);
				await database.start();
			}
			for (const ledger of ledgers) await ledger.rest();
			await untilLogin(url, names[writers] ?? "");
			await sleep(knownMs);
			// Before as well: whoever does not know which password counts may have guessed wrong ten times until now.
			await database.query(forgetDoubts);
			for (const ledger of ledgers) checked += await ledger.check(t);
			await database.query(forgetDoubts);
			progress(`kill ${kill} of ${kills}, of ${victim ? "a replica" : "PostgreSQL"}: ${checked} facts still true`);
		}
		t.ok(checked > kills * writers, "there was something to lose");
		const samples = await load.stop();
		t.comment(summary(samples));
		t.same(failures(samples), [], "every check of a token had its answer: HAProxy asked another replica");
		const outcomes = ledgers.flatMap((ledger) => [...ledger.outcomes]);
		const total = Map.groupBy(outcomes, ([what]) => what);
		progress([...total].map(([what, all]) => `${what}: ${all.reduce((sum, [, n]) => sum + n, 0)}`).join(", "));
	},
);

t.test(
	"Z05, fault 2: the only process, over SQLite, is killed under load: it is back at once, with all it acknowledged",
	async (t) => {
		const dataDir = temporaryFolder(t);
		const settings: Settings = {
			...commonSettings(""),
			...{ DATABASE_URL: undefined, DATA_DIR: dataDir, PORT: String(await freePort()), LOGIN_ACCOUNT_FAILURES: "50" },
		};
		let server = await startServer(t, settings);
		for (let index = 0; index < 3; index++)
			await run(t, ["user", "add", `user${index}`, "--password-stdin"], settings, rootAccount.BOOTSTRAP_PASSWORD);
		const ledgers = [0, 1, 2].map((index) => createLedger(server.url, `user${index}`));
		for (const { close } of ledgers) t.teardown(close);
		const kills = rounds(100);
		let checked = 0;
		for (let kill = 1; kill <= kills; kill++) {
			for (const ledger of ledgers) ledger.begin();
			await sleep(200 + Math.random() * 500);
			await server.kill();
			const begin = performance.now();
			server = await startServer(t, settings);
			const readyMs = performance.now() - begin;
			t.ok(readyMs < 2000, `ready after ${readyMs.toFixed(0)} ms`);
			for (const ledger of ledgers) await ledger.rest();
			for (const ledger of ledgers) checked += await ledger.check(t);
			const database = new DatabaseSync(join(dataDir, "gatehouse.db"), { timeout: 2000 });
			t.same(database.prepare("pragma integrity_check").all(), [{ integrity_check: "ok" }], "the file is whole");
			database.exec(forgetDoubts);
			database.close();
			progress(`kill ${kill} of ${kills}: ${checked} facts still true, ready after ${readyMs.toFixed(0)} ms`);
		}
		t.ok(checked > kills * 3, "there was something to lose");
	},
);
