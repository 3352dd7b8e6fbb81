/** Rolling restarts behind HAProxy: nobody notices. */
import t from "tap";
import { progress, rounds } from "../support/rounds.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { failures, startLoad, summary } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { addUsers, startReplicas } from "./support/replicas.ts";

t.test(
	"Z01, fault 3: three replicas are restarted one by one under 200 mixed requests a second, and no request fails",
	needs("haproxy"),
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url);
		const balancer = await startBalancer(
			t,
			replicas.map(({ port }) => port),
		);
		const load = await startLoad(t, balancer.url, await addUsers(database, 10), { perSecond: 200 });
		const times = rounds(10);
		for (let round = 1; round <= times; round++) {
			for (const replica of replicas) {
				const begin = performance.now();
				await replica.end();
				t.equal((await replica.server.ended).code, 0, "it ends well");
				t.ok(performance.now() - begin < 15_000, "within 15 seconds, with the balancer's idle connections open");
				await replica.start();
			}
			progress(
				`restart ${round} of ${times}: ${load.samples.length} requests, ${failures(load.samples).length} failed`,
			);
		}
		const samples = await load.stop();
		t.comment(summary(samples));
		t.same(failures(samples), [], "every request had its answer");
		t.ok(samples.length > times * 3 * 5 * 200 * 0.9, "the load was there all the time");
	},
);
