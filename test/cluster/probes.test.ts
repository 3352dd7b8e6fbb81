/** Probes ask nobody: a thousand a second cost the store nothing, and an outage does not make them flap. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { full, progress } from "../support/rounds.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { startReplicas } from "./support/replicas.ts";

const perSecond = 1000;
const seconds = full ? 30 : 5;

t.test(
	"Z11: 1,000 probes a second do not touch the store, and readiness does not flap while the store comes and goes",
	async (t) => {
		const database = await startDatabase(t);
		const [replica] = await startReplicas(t, database.url, { count: 1 });
		const url = replica?.url ?? "";
		const client = createClient();
		t.teardown(client.close);
		const seen = { "/livez": [] as number[], "/readyz": [] as number[] };
		const probe = async (path: keyof typeof seen) => void seen[path].push((await client.send(`${url}${path}`)).status);
		/** Every tenth of a second a hundred. */
		async function probeAll(forSeconds: number): Promise<void> {
			const begin = performance.now();
			const pending: Promise<void>[] = [];
			for (let turn = 0; turn < forSeconds * 10; turn++) {
				for (let index = 0; index < perSecond / 10; index++) pending.push(probe(index % 2 ? "/livez" : "/readyz"));
				await sleep(Math.max(0, begin + (turn + 1) * 100 - performance.now()));
			}
			await Promise.all(pending);
		}
		/** Statements that ended a transaction, without the one that asks. */
		const transactions = async () => {
			// Backends report what they did about once a second.
			await sleep(1500);
			const [row] = await database.query(
				"select xact_commit + xact_rollback as count from pg_stat_database where datname = 'postgres'",
			);
			return Number(row?.count);
		};
		const before = await transactions();
		await sleep(seconds * 1000);
		const idle = (await transactions()) - before;
		await probeAll(seconds);
		const probed = (await transactions()) - before - idle;
		progress(`in ${seconds} s ${idle} transactions without probes, ${probed} with ${perSecond * seconds} probes`);
		t.ok(seen["/readyz"].length >= (perSecond * seconds) / 2, "they were sent");
		t.ok(probed - idle <= seconds + 2, "at most one a second more");

		const outage = probeAll(seconds * 2);
		await sleep(500);
		await database.stop();
		await sleep(seconds * 1000);
		await database.start();
		await outage;
		t.same([...new Set(seen["/livez"])], [200], "live, always");
		t.same(
			[...new Set(seen["/readyz"])],
			[200],
			"ready, always: the store may be away for REVOCATION_MAX_STALENESS_SECONDS",
		);
	},
);
