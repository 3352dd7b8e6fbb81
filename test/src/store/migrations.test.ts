/** Migrations on both stores: each applies once, whoever starts at the same time. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { sql } from "kysely";
import { Migrator } from "kysely/migration";
import t from "tap";
import { createMigrations } from "../../../src/store/migrations.ts";
import { openStore } from "../../../src/store/store.ts";
import { openUsers } from "../../support/app.ts";
import { onEachStore } from "../../support/stores.ts";

const run = promisify(execFile);
const clock = { now: () => 1 };

onEachStore((kind, open) => {
	const names = Object.keys(createMigrations(kind));

	t.test(`${kind}: migrations apply once and then rest`, async (t) => {
		const store = await openStore({ ...(await open(t, { bare: true })), clock });
		t.teardown(() => store.close());
		t.same(await store.migrate(), names);
		t.same(await store.migrate(), []);
		t.equal(store.kind, kind);
	});

	t.test(`${kind}: a new store has its roles and no user`, async (t) => {
		const { db, migrate, close } = await openStore({ ...(await open(t, { bare: true })), clock });
		t.teardown(close);
		await migrate();
		const roles = await db
			.selectFrom("roles")
			.leftJoin("role_permissions", "role", "name")
			.select(["name", "permission"])
			.orderBy("name")
			.orderBy("permission")
			.execute();
		t.same(
			roles.map(({ name, permission }) => `${name} ${permission}`),
			["admin tokens:introspect", "admin users:read", "admin users:write", "user null"],
		);
		t.same(await db.selectFrom("users").selectAll().execute(), []);
	});

	t.test(`${kind}: five processes that start together migrate once`, async (t) => {
		const location = await open(t, { bare: true });
		const script = `
				const { openStore } = await import(${JSON.stringify(import.meta.resolve("../../../src/store/store.ts"))});
				const store = await openStore({ ...JSON.parse(process.argv[1]), clock: { now: () => 1 } });
				console.log(JSON.stringify(await store.migrate()));
				await store.close();`;
		const applied = await Promise.all(
			Array.from({ length: 5 }, async () => {
				const { stdout } = await run(process.execPath, [
					"--input-type=module",
					"--eval",
					script,
					JSON.stringify(location),
				]);
				return JSON.parse(stdout) as string[];
			}),
		);
		t.same(applied.flat(), names);
	});

	t.test(`${kind}: twenty handles of one process that migrate together migrate once`, async (t) => {
		const location = await open(t, { bare: true });
		const applied = await Promise.all(
			Array.from({ length: 20 }, async () => {
				const store = await openStore({ ...location, clock });
				t.teardown(() => store.close());
				return store.migrate();
			}),
		);
		t.same(applied.flat(), names);
	});

	t.test(
		`${kind}: a ring from before rotation goes on: its key signs, and retiring keys end within a day`,
		async (t) => {
			const store = await openStore({ ...(await open(t, { bare: true })), clock });
			t.teardown(() => store.close());
			const before = Object.fromEntries(Object.entries(createMigrations(kind)).slice(0, 2));
			const migrator = new Migrator({ db: store.db, provider: { getMigrations: async () => before } });
			t.notOk((await migrator.migrateToLatest()).error);
			await sql`insert into signing_keys (kid, algorithm, state, private_key_sealed, created_at)
			values ('a', 'ES256', 'active', 'sealed', 5), ('b', 'RS256', 'retiring', 'sealed', 4)`.execute(store.db);
			t.same(await store.migrate(), names.slice(2));
			const [a, b] = await store.db.selectFrom("signing_keys").selectAll().orderBy("kid").execute();
			t.match(a, { state: "active", signs_at: 5, ends_at: null, token_seconds: 86_400 });
			t.match(b, { state: "retiring", signs_at: 4 });
			const left = (b?.ends_at ?? 0) - Date.now() / 1000;
			t.ok(left > 86_300 && left <= 86_401, `${left} seconds are left`);
		},
	);

	t.test(
		`${kind}: sessions from before the purge had a time of its own stay, but for those that are over`,
		async (t) => {
			const location = await open(t, { bare: true });
			const store = await openStore({ ...location, clock });
			t.teardown(() => store.close());
			const before = Object.fromEntries(Object.entries(createMigrations(kind)).slice(0, 8));
			const migrator = new Migrator({ db: store.db, provider: { getMigrations: async () => before } });
			t.notOk((await migrator.migrateToLatest()).error);
			const { users, sessions } = openUsers(store, clock);
			const id = await users.add("ada", { hash: "x", scheme: "bcrypt" }, []);
			const now = await store.now();
			for (const [name, end] of [
				["live", now + 86_400],
				["over", now - 10],
			])
				await sql`insert into sessions (id, user_id, generation, address, created_at, authenticated_at, refreshed_at, expires_at,
				absolute_expires_at, access_until) values (${name}, ${id}, 0, '::1', 0, 0, 0, ${end}, ${end}, 0)`.execute(
					store.db,
				);
			t.same(await store.migrate(), names.slice(8));
			t.equal(await sessions.purge(), 2);
			t.equal(await sessions.purge(), 0);
			t.same(await store.db.selectFrom("sessions").select(["id", "purge_at"]).execute(), [
				{ id: "live", purge_at: now + 86_400 },
			]);
		},
	);

	t.test(`${kind}: fault 26: a store that is newer than the program serves, and nothing of it is undone`, async (t) => {
		const store = await openStore({ ...(await open(t, { bare: true })), clock });
		t.teardown(() => store.close());
		await store.migrate();
		await sql`insert into kysely_migration (name, timestamp) values ('9999-later', '2999-01-01T00:00:00.000Z')`.execute(
			store.db,
		);
		t.same(await store.migrate(), []);
		await store.requireMigrated();
		const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(store.db);
		t.same(
			rows.map(({ name }) => name),
			[...names, "9999-later"],
		);
	});

	t.test(`${kind}: a store that is older is named as such, with the command, and is left alone`, async (t) => {
		const store = await openStore({ ...(await open(t, { bare: true })), clock });
		t.teardown(() => store.close());
		const refusal = { code: "STORE_OUTDATED", message: /MIGRATE=off: 0001-accounts-and-keys.*npm run cli -- migrate/ };
		await t.rejects(store.requireMigrated(), refusal);
		await t.rejects(sql`select * from kysely_migration`.execute(store.db), "nothing was made");
		await store.migrate();
		await store.requireMigrated();
	});

	t.test(`${kind}: fault 27: a migration that fails leaves nothing, not even the lists of migrations`, async (t) => {
		const store = await openStore({ ...(await open(t, { bare: true })), clock });
		t.teardown(() => store.close());
		// In the way of the second migration: the first one is undone too.
		await sql`create table sessions (id text)`.execute(store.db);
		await t.rejects(store.migrate(), { message: /sessions/ });
		for (const table of ["users", "kysely_migration"])
			await t.rejects(sql`select * from ${sql.table(table)}`.execute(store.db), { message: new RegExp(table) });
		await sql`drop table sessions`.execute(store.db);
		t.same(await store.migrate(), names);
	});
});
