/** Chores that concern the store are done by one replica at a time. */
import { pino } from "pino";
import t from "tap";
import { systemClock } from "../../src/clock.ts";
import { type Chore, openHousekeeping } from "../../src/housekeeping.ts";
import { openStore } from "../../src/store/store.ts";
import { onEachStore } from "../support/stores.ts";
import { until } from "../support/until.ts";

const log = pino({ level: "silent" });

onEachStore((kind, open) => {
	t.test(`${kind}: Z29: of three replicas one does a chore of the store, and each its own`, async (t) => {
		const location = await open(t);
		const done = { store: [] as number[], process: [0, 0, 0] };
		let [underWay, most] = [0, 0];
		const began = performance.now();
		const replicas = [];
		for (const replica of [0, 1, 2]) {
			const store = await openStore({ ...location, clock: systemClock });
			t.teardown(() => store.close());
			await store.migrate();
			const chores: Chore[] = [
				{
					name: "shared",
					of: "store",
					// The store's clock has whole seconds: two claims may be almost one second closer than this.
					everySeconds: 2,
					async run() {
						done.store.push(replica);
						most = Math.max(most, ++underWay);
						await new Promise((resolve) => setTimeout(resolve, 100));
						underWay--;
					},
				},
				{
					name: "own",
					of: "process",
					everySeconds: 1,
					async run() {
						done.process[replica] = (done.process[replica] ?? 0) + 1;
					},
				},
			];
			replicas.push(openHousekeeping({ store, reachable: () => true, chores, log }));
		}
		const isDone = () => done.process.every((times) => times >= 5);
		await until("each has done its own five times", isDone, { seconds: 30, everyMs: 50 });
		await Promise.all(replicas.map((replica) => replica.close()));
		const seconds = (performance.now() - began) / 1000;
		t.ok(done.store.length >= 2, `${done.store.length} times`);
		t.ok(done.store.length <= Math.ceil(seconds / 2) + 1, `no more than once in each two of ${seconds} seconds`);
		t.equal(most, 1, "never two at once");
	});

	t.test(
		`${kind}: a chore of a replica that died is another one's the next time, and none is tried unreachable`,
		async (t) => {
			const store = await openStore({ ...(await open(t)), clock: systemClock });
			t.teardown(() => store.close());
			await store.migrate();
			let reachable = false;
			let [asked, done] = [0, 0];
			const housekeeping = openHousekeeping({
				store,
				reachable: () => {
					asked++;
					return reachable;
				},
				// As far ahead as it is claimed below: further would look like a clock that was ahead once.
				chores: [{ name: "shared", of: "store", everySeconds: 2, run: async () => void done++ }],
				log,
			});
			t.teardown(() => housekeeping.close());
			await until("it looks whether the store is there", () => asked === 1);
			const now = await store.now();
			t.same(await store.db.selectFrom("chores").selectAll().execute(), [], "nothing was claimed");
			// Claimed by somebody who was never heard of again.
			await store.db
				.insertInto("chores")
				.values({ name: "shared", next_at: now + 2 })
				.execute();
			reachable = true;
			await until("the chore is done", () => done === 1, { seconds: 30 });
			t.ok((await store.now()) >= now + 2, "not before its time");
		},
	);

	t.test(`${kind}: a clock that was ahead once stops no chore`, async (t) => {
		const store = await openStore({ ...(await open(t)), clock: systemClock });
		t.teardown(() => store.close());
		await store.migrate();
		const now = await store.now();
		await store.db
			.insertInto("chores")
			.values({ name: "shared", next_at: now + 365 * 86_400 })
			.execute();
		let done = 0;
		const housekeeping = openHousekeeping({
			store,
			reachable: () => true,
			chores: [{ name: "shared", of: "store", everySeconds: 1, run: async () => void done++ }],
			log,
		});
		t.teardown(() => housekeeping.close());
		await until("the chore is done", () => done > 0, { seconds: 6 });
		const { next_at } = await store.db.selectFrom("chores").select("next_at").executeTakeFirstOrThrow();
		t.ok(next_at <= (await store.now()) + 1, "and its next time is right again");
	});
});
