/** Processes of the service and of PostgreSQL are killed under load, at any moment: nothing that was acknowledged is lost. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createLedger } from "./support/ledger.ts";
import { failures, startLoad, summary } from "./support/load.ts";
import { untilLogin } from "./support/outage.ts";
import { needs } from "./support/packages.ts";
import { addUsers, startReplicas } from "./support/replicas.ts";
import { progress, rounds } from "./support/rounds.ts";

const writers = 6;
/** Longer than a revocation takes to reach every replica. */
const knownMs = 1000;

t.test(
	"Z05, faults 1 and 4: no acknowledged write is lost, whichever process is killed, and the other replicas serve on",
	needs("haproxy"),
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url);
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

		const kills = rounds(100);
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
			for (const ledger of ledgers) checked += await ledger.check(t);
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
