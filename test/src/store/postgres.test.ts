/** What is true of PostgreSQL alone: a server that is away, hangs, breaks off, or turned read-only. */
import { connect, createServer, type Socket } from "node:net";
import { sql } from "kysely";
import { Migrator } from "kysely/migration";
import pg from "pg";
import t, { type Test } from "tap";
import { createMigrations } from "../../../src/store/migrations.ts";
import { sizeFor } from "../../../src/store/postgres-pool.ts";
import { openStore } from "../../../src/store/store.ts";
import { onEachStore, openStoreLocation, temporaryFolder, versionsOf } from "../../support/stores.ts";

const clock = { now: () => 1 };
const refused = { code: "STORE_UNAVAILABLE" };

/** A server that takes connections, or not, and never says a word. */
async function silentServer(t: Test) {
	const sockets = new Set<Socket>();
	const server = createServer((socket) => {
		sockets.add(socket);
		socket.on("error", () => {});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
	const close = async () => {
		for (const socket of sockets) socket.destroy();
		if (server.listening) await new Promise((resolve) => server.close(resolve));
	};
	t.teardown(close);
	return { port: (server.address() as { port: number }).port, close };
}

async function failsToOpen(t: Test, port: number) {
	const begin = performance.now();
	const error = (await openStore({
		databaseUrl: `postgres://someone:hunter2secret@127.0.0.1:${port}/gatehouse`,
		dataDir: temporaryFolder(t),
		clock,
	}).catch((error: unknown) => error)) as Error & { code: string };
	const tookMs = performance.now() - begin;
	t.equal(error.code, "STORE_UNAVAILABLE");
	t.match(error.message, /DATABASE_URL.*Check that the server runs/);
	t.notMatch(
		`${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`,
		/hunter2secret/,
		"no password in the error",
	);
	t.ok(tookMs < 3000, `took ${Math.round(tookMs)} ms`);
	return error;
}

t.test("a port where nobody listens is refused at once, in words", async (t) => {
	const { port, close } = await silentServer(t);
	await close();
	const error = await failsToOpen(t, port);
	t.match(error.message, /ECONNREFUSED/);
});

t.test("a server that never answers is given up soon", async (t) => {
	const { port } = await silentServer(t);
	await failsToOpen(t, port);
});

/** A way to the server that can freeze, as SIGSTOP or a lost network does: open connections stay, nothing moves. */
async function freezingProxy(t: Test, databaseUrl: string) {
	const url = new URL(databaseUrl);
	const { hostname, port } = url;
	const sockets = new Set<Socket>();
	const server = createServer((downstream) => {
		const upstream = connect(Number(port), hostname);
		for (const socket of [downstream, upstream]) {
			sockets.add(socket);
			socket.on("error", () => {});
		}
		downstream.pipe(upstream).pipe(downstream);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
	const freeze = () => {
		for (const socket of sockets) socket.unpipe().pause();
	};
	return { databaseUrl: url.href, freeze };
}

onEachStore((kind, open) => {
	if (kind !== "postgres") return;

	async function migrated(t: Test) {
		const location = await open(t);
		const store = await openStore({ ...location, clock });
		t.teardown(() => store.close());
		await store.migrate();
		const admin = new pg.Client({ connectionString: location.databaseUrl });
		await admin.connect();
		t.teardown(() => admin.end());
		/** Ends every session of the store, as a restart of the server does. */
		const cutConnections = async () => {
			const { rowCount } = await admin.query(
				"select pg_terminate_backend(pid, 2000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'",
			);
			// The socket's end arrives on a later turn than the answer above.
			await new Promise((resolve) => setTimeout(resolve, 50));
			return rowCount;
		};
		return { store, admin, cutConnections };
	}

	t.test("an idle connection that breaks ends neither the process nor the next query", async (t) => {
		const { store, cutConnections } = await migrated(t);
		t.ok(Number(await cutConnections()) >= 1, "a connection was cut");
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
	});

	t.test("a connection that breaks inside a transaction is STORE_UNAVAILABLE, and the store recovers", async (t) => {
		const { store, cutConnections } = await migrated(t);
		await t.rejects(
			store.transaction(async (transaction) => {
				await store.announce(transaction, "keys");
				await cutConnections();
				await store.announce(transaction, "keys");
			}),
			refused,
		);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 }, "rolled back");
	});

	t.test("a connection that breaks under a running statement is STORE_UNAVAILABLE", async (t) => {
		const { store, cutConnections } = await migrated(t);
		const asleep = t.rejects(sql`select pg_sleep(1.5)`.execute(store.db), {
			...refused,
			cause: { code: "57P01" },
		});
		await new Promise((resolve) => setTimeout(resolve, 100));
		await cutConnections();
		await asleep;
	});

	t.test("a statement that takes too long is given up after two seconds", async (t) => {
		const { store } = await migrated(t);
		const begin = performance.now();
		await t.rejects(sql`select pg_sleep(10)`.execute(store.db), refused);
		t.ok(performance.now() - begin < 3000);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
	});

	t.test("a server that freezes inside a transaction costs two seconds once, and new connections go on", async (t) => {
		const location = await open(t);
		const proxy = await freezingProxy(t, location.databaseUrl as string);
		const store = await openStore({ ...location, ...proxy, clock });
		t.teardown(() => store.close());
		await store.migrate();
		let begin = 0;
		await t.rejects(
			store.transaction(async (transaction) => {
				await store.announce(transaction, "keys");
				proxy.freeze();
				begin = performance.now();
				await store.announce(transaction, "keys");
			}),
			refused,
		);
		const tookMs = performance.now() - begin;
		t.ok(tookMs < 3000, `took ${Math.round(tookMs)} ms: the rollback does not wait again`);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
	});

	t.test("a row that another session holds is waited for two seconds, no more", async (t) => {
		const { store, admin } = await migrated(t);
		await admin.query("begin");
		await admin.query("update changes set version = 7 where topic = 'keys'");
		const begin = performance.now();
		await t.rejects(
			store.transaction((transaction) => store.announce(transaction, "keys")),
			refused,
		);
		t.ok(performance.now() - begin < 3000);
		await admin.query("rollback");
		await store.transaction((transaction) => store.announce(transaction, "keys"));
		t.same(await versionsOf(store), { accounts: 0, keys: 1, revocations: 0 });
	});

	t.test(
		"a transaction that PostgreSQL gives up for another one is STORE_UNAVAILABLE, and the store goes on",
		async (t) => {
			const { store, admin } = await migrated(t);
			// So that the store's transaction is the one that finds the circle.
			await admin.query("set deadlock_timeout = '10s'");
			await admin.query("begin");
			await admin.query("update changes set version = 7 where topic = 'keys'");
			const locked = Promise.withResolvers<void>();
			const circle = store.transaction(async (transaction) => {
				await store.announce(transaction, "accounts");
				const waiting = store.announce(transaction, "keys");
				locked.resolve();
				return waiting;
			});
			const refusal = t.rejects(circle, { ...refused, cause: { code: "40P01" } });
			await locked.promise;
			await admin.query("update changes set version = 7 where topic = 'accounts'");
			await refusal;
			await admin.query("rollback");
			await t.rejects(
				store.db
					.transaction()
					.setIsolationLevel("repeatable read")
					.execute(async (transaction) => {
						await transaction.selectFrom("changes").selectAll().execute();
						await admin.query("update changes set version = 7 where topic = 'keys'");
						await transaction.updateTable("changes").set({ version: 8 }).where("topic", "=", "keys").execute();
					}),
				{ ...refused, cause: { code: "40001" } },
			);
			t.same(await versionsOf(store), { accounts: 0, keys: 7, revocations: 0 });
		},
	);

	t.test("a pool whose connections are all in use is STORE_UNAVAILABLE after a second", async (t) => {
		const { store } = await migrated(t);
		const busy = Array.from({ length: 9 }, () => sql`select pg_sleep(1.6)`.execute(store.db));
		await new Promise((resolve) => setTimeout(resolve, 100));
		const began = performance.now();
		const waiting = t.rejects(store.now(), refused);
		t.same(
			await versionsOf(store),
			{ accounts: 0, keys: 0, revocations: 0 },
			"what others have changed is heard all the same",
		);
		t.ok(performance.now() - began < 900, "at once");
		await waiting;
		await Promise.all(busy);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
	});

	t.test("a server that turned read-only is STORE_UNAVAILABLE to a writer and answers a reader", async (t) => {
		const { store, admin, cutConnections } = await migrated(t);
		const readOnly = (value: string) =>
			admin.query(
				`do $$ begin execute format('alter database %I set default_transaction_read_only = ${value}', current_database()); end $$`,
			);
		await readOnly("on");
		await cutConnections();
		await t.rejects(
			store.transaction((transaction) => store.announce(transaction, "keys")),
			{ ...refused, cause: { code: "25006" } },
		);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
		await t.rejects(store.news(), { ...refused, cause: { message: /takes no writes/ } }, "what it says is no news");
		await admin.query("set default_transaction_read_only = off");
		await readOnly("off");
		// Their transactions are read-only still: a connection that only read is not used again either.
		await Promise.all([1, 2, 3].map(() => store.transaction((it) => store.announce(it, "keys"))));
		t.equal((await store.news()).keys.version, 3);
	});

	t.test("Z23: connections that are open when the server turns read-only are not used again", async (t) => {
		const { store, admin } = await migrated(t);
		const three = async () => {
			const ask = () => sql<{ pid: number }>`select pg_backend_pid() as pid from pg_sleep(0.05)`.execute(store.db);
			const answers = await Promise.all([ask(), ask(), ask()]);
			return answers.map(({ rows }) => rows[0]?.pid).sort();
		};
		const before = await three();
		t.same(await three(), before, "otherwise they are");
		await t.rejects(
			store.db
				.transaction()
				.setAccessMode("read only")
				.execute((transaction) => transaction.updateTable("changes").set({ version: 8 }).execute()),
			refused,
		);
		const after = await three();
		t.same(
			after.filter((pid) => before.includes(pid)),
			[],
		);
		const { rows } = await admin.query("select 1 from pg_stat_activity where pid = any($1)", [before]);
		t.same(rows, [], "and closed");
	});

	t.test("Z25: a pool takes no more than its share of what the server allows", async (t) => {
		t.same([1, 20, 30, 100, 500].map(sizeFor), [2, 4, 6, 10, 10]);
		// Three replicas, each with its listener; PostgreSQL keeps three back for its administrators.
		t.ok(3 * (sizeFor(20) + 1) <= 20 - 3);
	});

	t.test("a migration that waits for a table keeps those who read it waiting for a moment only", async (t) => {
		const location = await open(t, { bare: true });
		const store = await openStore({ ...location, clock });
		t.teardown(() => store.close());
		const old = Object.fromEntries(Object.entries(createMigrations("postgres")).slice(0, 3));
		await new Migrator({ db: store.db, provider: { getMigrations: async () => old } }).migrateToLatest();
		const reader = new pg.Client({ connectionString: location.databaseUrl });
		await reader.connect();
		t.teardown(() => reader.end());
		await reader.query("begin");
		await reader.query("select id from users");
		const migrating = store.migrate();
		let longestMs = 0;
		for (const began = performance.now(); performance.now() - began < 1500; ) {
			const askedMs = performance.now();
			await store.db.selectFrom("users").select("id").execute();
			longestMs = Math.max(longestMs, performance.now() - askedMs);
		}
		t.ok(longestMs < 500, `${longestMs.toFixed(0)} ms`);
		await reader.query("rollback");
		t.same(await migrating, Object.keys(createMigrations("postgres")).slice(3));
	});

	t.test("a migration waits longer for another one than a request may", async (t) => {
		const { store, admin } = await migrated(t);
		await admin.query("begin");
		await admin.query("lock table kysely_migration in access exclusive mode");
		const migrate = store.migrate();
		await new Promise((resolve) => setTimeout(resolve, 2300));
		await admin.query("rollback");
		t.same(await migrate, []);
	});

	t.test("bigint is a number in this pool, and as pg has it elsewhere", async (t) => {
		const { store, admin } = await migrated(t);
		const { rows } = await sql<{ n: unknown }>`select 5::bigint as n`.execute(store.db);
		t.equal(rows[0]?.n, 5);
		const elsewhere = await admin.query("select 5::bigint as n");
		t.equal(elsewhere.rows[0].n, "5");
	});

	t.test("a statement for many is for SQLite", async (t) => {
		const { store } = await migrated(t);
		t.throws(() => store.prepareEach(() => store.db.selectFrom("changes").select("topic")), /for SQLite/);
	});

	t.test("backup points to pg_dump", async (t) => {
		const { store } = await migrated(t);
		await t.rejects(store.backup("anything"), { message: /pg_dump/ });
	});
});

t.test("a start says which isolation of transactions it needs", async (t) => {
	const location = await openStoreLocation(t, "postgres");
	const url = new URL(location.databaseUrl ?? "");
	url.searchParams.set("options", "-c default_transaction_isolation=serializable");
	const opened = openStore({ ...location, databaseUrl: url.href, clock });
	await t.rejects(opened, {
		code: "STORE_SETTINGS",
		message: /serializable.*options.*set default_transaction_isolation = 'read committed'/,
	});
	url.searchParams.set("options", "-c default_transaction_isolation=read\\ committed");
	const store = await openStore({ ...location, databaseUrl: url.href, clock });
	await store.close();
});
