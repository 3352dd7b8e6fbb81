/** How long a logout at one replica takes to reach the others, with notifications and by polling alone. */
import { createClient } from "../../test/cluster/support/load.ts";
import { startReplicas } from "../../test/cluster/support/replicas.ts";
import { measureRevocations } from "../../test/cluster/support/revocation.ts";
import { startPostgres } from "../../test/support/postgres.ts";
import { type Figure, quantile, type Row } from "../measure.ts";
import { newDatabase } from "./sessions.ts";

/** Idle times are longer than the time between two polls, so that the rounds meet every phase of it. */
const sides = [
	{ name: "with notifications", settings: {}, share: 0.99, barMs: 50, bar: "p99 at most 50 ms", idleMs: 200, lanes: 1 },
	{
		name: "by polling alone",
		settings: { DATABASE_LISTEN_URL: "off" },
		share: 1,
		barMs: 1000,
		bar: "max at most 1 s",
		idleMs: 600,
		// Several sessions at once: a poll that finds one finds all, so they do not help each other.
		lanes: 6,
	},
];

export const wake: Figure = {
	name: "wake",
	rounds: 500,
	async run(rounds, tick) {
		const postgres = await startPostgres();
		const ends: (() => unknown)[] = [() => postgres.stop()];
		const owner = { teardown: (end: () => unknown) => void ends.push(end) };
		const rows: Row[] = [];
		try {
			for (const { name, settings, share, barMs, bar, ...pace } of sides) {
				const url = await newDatabase(postgres.url);
				const replicas = await startReplicas(owner, url, { settings });
				const client = createClient();
				const took = await measureRevocations(client, replicas, rounds, { ...pace, tick });
				client.close();
				for (const replica of replicas) await replica.kill();
				const shown = (of: number) => `${quantile(took, of).toFixed(0)} ms`;
				rows.push({
					figure: `revocation from POST /logout on one replica to the first 401 on the two others, ${name}, ${rounds} rounds`,
					measured: share === 1 ? `max ${shown(1)}` : `p99 ${shown(share)}`,
					bar,
					met: quantile(took, share) <= barMs,
					detail: `p50 ${shown(0.5)}, p99 ${shown(0.99)}, max ${shown(1)}`,
					data: took,
				});
			}
		} finally {
			for (const end of ends.toReversed()) await end();
		}
		return rows;
	},
};
