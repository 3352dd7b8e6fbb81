/** What is true of SQLite alone: the file, its durability, and the lock that another process may hold. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import t, { type Test } from "tap";
import { isUniqueViolation, openStore, type Slot } from "../../../src/store/store.ts";
import { temporaryFolder, versionsOf } from "../../support/stores.ts";

const clock = { now: () => 1 };
const mode = (path: string) => statSync(path).mode & 0o777;

async function migrated(t: Test) {
	const dataDir = join(temporaryFolder(t), "data");
	const store = await openStore({ databaseUrl: undefined, dataDir, clock });
	t.teardown(() => store.close());
	await store.migrate();
	return { store, dataDir, file: join(dataDir, "gatehouse.db") };
}

/** Holds the write lock as another process would. */
function lock(t: Test, file: string) {
	const other = new DatabaseSync(file);
	t.teardown(() => other.close());
	other.exec("begin immediate");
	return { release: () => other.exec("rollback") };
}

t.test("the folder and every file are the owner's alone", async (t) => {
	const { store, dataDir, file } = await migrated(t);
	await versionsOf(store);
	t.equal(mode(dataDir), 0o700);
	for (const path of [file, `${file}-wal`, `${file}-shm`]) t.equal(mode(path), 0o600, path);
});

t.test("a database file that others could read is closed to them", async (t) => {
	const dataDir = temporaryFolder(t);
	const file = join(dataDir, "gatehouse.db");
	writeFileSync(file, "");
	chmodSync(file, 0o644);
	const store = await openStore({ databaseUrl: undefined, dataDir, clock });
	t.teardown(() => store.close());
	t.equal(mode(file), 0o600);
});

t.test("the database is durable and strict", async (t) => {
	const { store } = await migrated(t);
	const pragma = async (name: string) => {
		const { rows } = await sql.raw<Record<string, unknown>>(`pragma ${name}`).execute(store.db);
		return Object.values(rows[0] ?? {})[0];
	};
	t.equal(await pragma("journal_mode"), "wal");
	t.equal(await pragma("synchronous"), 2, "FULL");
	t.equal(await pragma("foreign_keys"), 1);
	t.equal(await pragma("busy_timeout"), 0, "SQLite never sleeps by itself");
	const { rows } = await sql<{ name: string }>`
		select name from pragma_table_list
		where schema = 'main' and type = 'table' and strict = 0
			and name not like 'sqlite_%' and name not like 'kysely_%'`.execute(store.db);
	t.same(rows, [], "every table of ours is STRICT");
});

t.test(
	"a new file has small pages; one that exists keeps its own; the log of writes is as long for both",
	async (t) => {
		for (const pageBytes of [undefined, 8192]) {
			const dataDir = temporaryFolder(t);
			const file = join(dataDir, "gatehouse.db");
			if (pageBytes) {
				const before = new DatabaseSync(file);
				before.exec(`pragma page_size = ${pageBytes}; create table what_is_there (text)`);
				before.close();
			}
			const store = await openStore({ databaseUrl: undefined, dataDir, clock });
			t.teardown(() => store.close());
			await store.migrate();
			const { rows } = await sql<{ page_size: number }>`pragma page_size`.execute(store.db);
			t.equal(rows[0]?.page_size, pageBytes ?? 1024);
			let longest = 0;
			for (let turn = 0; turn < 400; turn++) {
				await sql`with recursive counted (n) as (select 1 union all select n + 1 from counted where n < 10)
					insert into changes select hex(randomblob(200)) || n, 0, null from counted`.execute(store.db);
				longest = Math.max(longest, statSync(`${file}-wal`).size);
			}
			t.ok(longest > 3_900_000 && longest < 4_300_000, `${longest} bytes`);
		}
	},
);

t.test("a statement for many runs for all or for none", async (t) => {
	const { store, file } = await migrated(t);
	const add = store.prepareEach((slot: Slot<{ topic: string; version: number }>) =>
		store.db
			.insertInto("changes")
			.values({ topic: slot("topic") as "keys", version: slot("version") })
			.returning(["topic", store.nowExpression().as("now")]),
	);
	const find = store.prepareEach((slot: Slot<{ topic: string }>) =>
		store.db
			.selectFrom("changes")
			.select("version")
			.where("topic", "=", slot("topic") as "keys"),
	);
	const named = (topics: string) => [...topics].map((topic, version) => ({ topic, version }));
	t.same(
		await add(named("abc")),
		[..."abc"].map((topic) => ({ topic, now: 1 })),
	);
	t.same(
		await find(named("bxa")),
		[{ version: 1 }, undefined, { version: 0 }],
		"in the order in which they were asked",
	);
	t.same(await find([]), []);
	t.ok(isUniqueViolation(await add(named("dea")).catch((error: unknown) => error)));
	t.same(await find(named("de")), [undefined, undefined], "the two before the third are not there");

	const { release } = lock(t, file);
	t.same(await find(named("c")), [{ version: 2 }], "who only reads needs no lock");
	let settled = false;
	const waiting = add(named("fg")).finally(() => {
		settled = true;
	});
	await sleep(50);
	t.notOk(settled, "who writes waits for it");
	release();
	await waiting;
	t.same(await find(named("fg")), [{ version: 0 }, { version: 1 }]);
});

t.test("a transaction takes the write lock when it begins", async (t) => {
	const { store, file } = await migrated(t);
	const other = new DatabaseSync(file);
	t.teardown(() => other.close());
	await store.transaction(async () => {
		t.throws(() => other.exec("begin immediate"), /locked/);
	});
	other.exec("begin immediate; rollback");
});

t.test("a foreign lock ends in STORE_UNAVAILABLE after two seconds, and the event loop goes on", async (t) => {
	const { store, file } = await migrated(t);
	lock(t, file);
	let longestGapMs = 0;
	let last = performance.now();
	const ticker = setInterval(() => {
		longestGapMs = Math.max(longestGapMs, performance.now() - last);
		last = performance.now();
	}, 10);
	t.teardown(() => clearInterval(ticker));

	const begin = performance.now();
	const write = () => store.transaction((transaction) => store.announce(transaction, "accounts"));
	// Five callers queue for the one connection: each waits two seconds, not two more than the one before.
	await Promise.all(
		Array.from({ length: 5 }, () =>
			t.rejects(write(), {
				code: "STORE_UNAVAILABLE",
				cause: { errcode: 5 },
			}),
		),
	);
	const tookMs = performance.now() - begin;
	t.ok(tookMs >= 1900 && tookMs < 3500, `took ${Math.round(tookMs)} ms`);
	t.ok(longestGapMs < 500, `longest gap ${Math.round(longestGapMs)} ms`);
	t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 }, "reads go on");
});

t.test("who waits two seconds for the connection is refused, and the others have their turn", async (t) => {
	const { store } = await migrated(t);
	const begin = performance.now();
	const order: string[] = [];
	const busy = store.transaction(async () => {
		await sleep(2300);
		order.push("the first");
	});
	await sleep(10);
	const early = Array.from({ length: 3 }, () =>
		t.rejects(versionsOf(store), { code: "STORE_UNAVAILABLE", cause: { message: /in use for too long/ } }),
	);
	await sleep(1000);
	const late = versionsOf(store).then(() => order.push("the last"));
	await Promise.all(early);
	t.same(order, [], "refused while it is still in use");
	t.ok(performance.now() - begin >= 1900, "not before its time");
	await Promise.all([busy, late]);
	t.same(order, ["the first", "the last"]);
	await versionsOf(store);
});

t.test("thousands of statements at once let the event loop go on", async (t) => {
	const { store } = await migrated(t);
	let loops = 0;
	let isDone = false;
	const count = () => {
		loops++;
		if (!isDone) setImmediate(count);
	};
	setImmediate(count);
	await Promise.all(Array.from({ length: 5000 }, () => sql`select 1`.execute(store.db)));
	isDone = true;
	t.ok(loops > 3, `${loops} turns of the loop`);
});

t.test("a write that waits for a foreign lock goes through when that ends", async (t) => {
	const { store, file } = await migrated(t);
	const { release } = lock(t, file);
	let settled = false;
	const write = store.db
		.insertInto("deleted_users")
		.values({ id: "1", deleted_at: 1 })
		.execute()
		.finally(() => {
			settled = true;
		});
	await new Promise((resolve) => setTimeout(resolve, 100));
	t.notOk(settled, "still waiting");
	release();
	await write;
	const rows = await store.db.selectFrom("deleted_users").select("id").execute();
	t.equal(rows.length, 1);
});

t.test("a database that is full or read-only is STORE_UNAVAILABLE", async (t) => {
	const { store } = await migrated(t);
	await sql`pragma query_only = on`.execute(store.db);
	await t.rejects(
		store.transaction((tx) => store.announce(tx, "keys")),
		{ code: "STORE_UNAVAILABLE", cause: { errcode: 8 } },
	);
	await sql`pragma query_only = off`.execute(store.db);
	await sql`pragma max_page_count = 1`.execute(store.db);
	await t.rejects(
		store.db
			.insertInto("deleted_users")
			.values({ id: "x".repeat(100_000), deleted_at: 1 })
			.execute(),
		{ code: "STORE_UNAVAILABLE", cause: { errcode: 13 } },
	);
	// In a transaction SQLite has rolled back by itself; the cause must show, not a failed second rollback.
	await t.rejects(
		store.transaction((tx) =>
			tx
				.insertInto("deleted_users")
				.values({ id: "x".repeat(100_000), deleted_at: 1 })
				.execute(),
		),
		{ code: "STORE_UNAVAILABLE", cause: { errcode: 13 } },
	);
	const addEach = store.prepareEach((slot: Slot<{ id: string }>) =>
		store.db
			.insertInto("deleted_users")
			.values({ id: slot("id"), deleted_at: 1 })
			.returning("id"),
	);
	t.same(await addEach([{ id: "has room" }]), [{ id: "has room" }]);
	await t.rejects(addEach([{ id: "small" }, { id: "x".repeat(100_000) }]), {
		code: "STORE_UNAVAILABLE",
		cause: { errcode: 13 },
	});
	await sql`pragma max_page_count = 100000`.execute(store.db);
	t.same(await store.db.selectFrom("deleted_users").select("id").execute(), [{ id: "has room" }], "all or none");
	await store.transaction((tx) => store.announce(tx, "keys"));
	t.same(await versionsOf(store), { accounts: 0, keys: 1, revocations: 0 }, "it recovers");
});

t.test("a folder that cannot be made names the setting and the remedy", async (t) => {
	const folder = temporaryFolder(t);
	writeFileSync(join(folder, "file"), "");
	await t.rejects(
		openStore({
			databaseUrl: undefined,
			dataDir: join(folder, "file", "data"),
			clock,
		}),
		{ code: "STORE_UNAVAILABLE", message: /DATA_DIR.*writable/ },
	);
});

t.test("a backup of the live database opens and holds the rows", async (t) => {
	const { store, dataDir } = await migrated(t);
	const target = join(dataDir, "copy.db");
	await store.db.insertInto("deleted_users").values({ id: "committed", deleted_at: 1 }).execute();
	await store.transaction(async (transaction) => {
		await transaction.insertInto("deleted_users").values({ id: "half of a transaction", deleted_at: 1 }).execute();
		await store.backup(target);
	});
	t.equal(mode(target), 0o600);

	const copyDir = temporaryFolder(t);
	copyFileSync(target, join(copyDir, "gatehouse.db"));
	const copy = await openStore({
		databaseUrl: undefined,
		dataDir: copyDir,
		clock,
	});
	t.teardown(() => copy.close());
	t.same(await copy.migrate(), [], "nothing left to migrate");
	const rows = await copy.db.selectFrom("deleted_users").select("id").execute();
	t.same(
		rows.map(({ id }) => id),
		["committed"],
	);
	const { rows: check } = await sql<{
		integrity_check: string;
	}>`pragma integrity_check`.execute(copy.db);
	t.equal(check[0]?.integrity_check, "ok");
});

t.test("a backup overwrites nothing and leaves nothing half done", async (t) => {
	const { store, dataDir } = await migrated(t);
	const target = join(dataDir, "copy.db");
	writeFileSync(target, "precious");
	await t.rejects(store.backup(target), { message: /exists already/ });
	t.equal(statSync(target).size, "precious".length);
	await t.rejects(store.backup(join(dataDir, "missing", "copy.db")), {
		code: "ENOENT",
	});
	// A folder in the place of the copy's journal: the file can be made, and writing it fails.
	const doomed = join(dataDir, "doomed.db");
	mkdirSync(`${doomed}-journal`);
	await t.rejects(store.backup(doomed), { code: "STORE_UNAVAILABLE" });
	t.notOk(existsSync(doomed));
});

t.test("closing waits for a transaction that still runs", async (t) => {
	const dataDir = temporaryFolder(t);
	const location = { databaseUrl: undefined, dataDir, clock };
	const store = await openStore(location);
	await store.migrate();
	const begun = Promise.withResolvers<void>();
	const write = store.transaction(async (transaction) => {
		begun.resolve();
		await new Promise(setImmediate);
		await store.announce(transaction, "keys");
	});
	await begun.promise;
	await Promise.all([store.close(), write]);
	const again = await openStore(location);
	t.teardown(() => again.close());
	t.same(await versionsOf(again), { accounts: 0, keys: 1, revocations: 0 });
});
