/** The wake-up: PostgreSQL's notifications, sent after a commit, awaited on a connection of their own. */
import { once } from "node:events";
import pg from "pg";
import { pino } from "pino";
import t, { type Test } from "tap";
import { openStore, type Store } from "../../../src/store/store.ts";
import { onEachStore, type StoreLocation } from "../../support/stores.ts";

const clock = { now: () => 1 };
const channel = "gatehouse_changes";

async function open(t: Test, location: StoreLocation, databaseListenUrl?: string): Promise<Store> {
	const store = await openStore({ ...location, databaseListenUrl, clock });
	t.teardown(() => store.close());
	await store.migrate();
	return store;
}

const announce = (store: Store) => store.transaction((transaction) => store.announce(transaction, "keys"));

/** Listens by a store, and lets a test await what arrives. */
function listen(t: Test, store: Store) {
	const lines: string[] = [];
	const log = pino({ level: "trace" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
	let woken = 0;
	let next = Promise.withResolvers<void>();
	const onWake = () => {
		woken++;
		next.resolve();
		next = Promise.withResolvers();
	};
	const listener = store.listen({ onWake, log });
	t.teardown(() => listener.close());
	return { listener, lines, woken: () => woken, arrival: () => next.promise };
}

onEachStore((kind, openLocation) => {
	t.test(
		`${kind}: the news of a topic tell its version, and when it was announced, by the store's clock`,
		async (t) => {
			const store = await open(t, await openLocation(t));
			t.equal((await store.news()).keys.announcedMs, null, "never");
			await announce(store);
			const { keys, accounts } = await store.news();
			t.equal(keys.version, 1);
			const ageMs = keys.nowMs - (keys.announcedMs ?? 0);
			t.ok(ageMs >= 0 && ageMs < 5000, `${ageMs} ms ago`);
			t.ok(Math.abs(keys.nowMs - Date.now()) < 5000, "milliseconds since 1970");
			t.equal(accounts.announcedMs, null, "only the topic itself");
		},
	);

	if (kind === "sqlite") {
		t.test("sqlite: nobody is woken, and nothing waits for it", async (t) => {
			const store = await open(t, await openLocation(t));
			const { listener } = listen(t, store);
			t.equal(listener.listening(), undefined);
			await listener.close();
		});
		return;
	}

	/** A session beside the stores, which hears what is sent. */
	async function witness(t: Test, { databaseUrl }: StoreLocation) {
		const client = new pg.Client({ connectionString: databaseUrl });
		await client.connect();
		t.teardown(() => client.end());
		await client.query(`listen ${channel}`);
		const heard: (string | undefined)[] = [];
		client.on("notification", ({ payload }) => heard.push(payload));
		return { client, heard, next: () => once(client, "notification") };
	}

	t.test("a notification goes out once a change is committed, empty; none for what was rolled back", async (t) => {
		const location = await openLocation(t);
		const store = await open(t, location);
		const { client, heard, next } = await witness(t, location);
		const undone = store.transaction(async (transaction) => {
			await store.announce(transaction, "keys");
			throw new Error("changed my mind");
		});
		await t.rejects(undone, { message: "changed my mind" });
		await store.transaction((transaction) => transaction.selectFrom("users").selectAll().execute());
		const first = next();
		const { promise: gate, resolve: commit } = Promise.withResolvers<void>();
		const announced = Promise.withResolvers<void>();
		const changing = store.transaction(async (transaction) => {
			await store.announce(transaction, "keys");
			announced.resolve();
			await gate;
		});
		await announced.promise;
		await client.query("select pg_sleep(0.05)");
		t.same(heard, [], "not before the commit");
		commit();
		await changing;
		await first;
		t.same(heard, [""]);
	});

	t.test("a storm of changes is told in few notifications, and the last change is told, too", async (t) => {
		const location = await openLocation(t);
		const store = await open(t, location);
		const { heard, next } = await witness(t, location);
		const first = next();
		// Ten at a time, as many as there are connections: the wait for one is bounded, and not what this is about.
		const change = async () => {
			for (let turn = 0; turn < 20; turn++) await announce(store);
		};
		await Promise.all(Array.from({ length: 10 }, change));
		await first;
		const told = heard.length;
		t.ok(told <= 200, `${told} for 200 changes`);
		const last = next();
		await announce(store);
		await last;
	});

	t.test("what a command has changed is told before it ends", async (t) => {
		const location = await openLocation(t);
		const command = await openStore({ ...location, clock });
		await command.migrate();
		const { next } = await witness(t, location);
		const told = next();
		await announce(command);
		await command.close();
		await told;
	});

	t.test("V09: a listener that is cut off comes back, and then asks at once for what it missed", async (t) => {
		const location = await openLocation(t);
		const [here, there] = [await open(t, location), await open(t, location)];
		const { listener, arrival, woken, lines } = listen(t, here);
		await arrival();
		t.ok(listener.listening());
		t.equal(woken(), 1, "once it listens: what was told before is lost");
		const told = arrival();
		await announce(there);
		await told;
		const { client } = await witness(t, location);
		const back = arrival();
		const { rowCount } = await client.query(
			"select pg_terminate_backend(pid, 2000) from pg_stat_activity where datname = current_database() and query = $1 and pid <> pg_backend_pid()",
			[`listen ${channel}`],
		);
		t.equal(rowCount, 1, "on a connection of its own");
		await back;
		t.ok(listener.listening());
		t.same(lines, [
			"notifications of changes arrive",
			"notifications of changes do not arrive; changes are polled",
			"notifications of changes arrive",
		]);
		const again = arrival();
		await announce(there);
		await again;
		await listener.close();
		t.notOk(listener.listening());
	});

	t.test("a listener whose address leads nowhere troubles nobody", async (t) => {
		const location = await openLocation(t);
		const store = await open(t, location, "postgres://nobody@127.0.0.1:1/none");
		const { listener, lines } = listen(t, store);
		await announce(store);
		t.notOk(listener.listening());
		await listener.close();
		t.same(lines, []);
	});

	t.test("off: nobody listens and nothing is sent", async (t) => {
		const location = await openLocation(t);
		const silent = await open(t, location, "off");
		const { listener } = listen(t, silent);
		t.equal(listener.listening(), undefined);
		const { client, heard, next } = await witness(t, location);
		await announce(silent);
		const own = next();
		await client.query(`notify ${channel}, 'the end'`);
		await own;
		t.same(heard, ["the end"]);
	});
});
