/** What roles of PostgreSQL the service can do with: one that owns a schema, and one that only reads and writes. */
import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import pg from "pg";
import t, { type Test } from "tap";
import { openStore } from "../../../src/store/store.ts";
import { goodPassword, testApp } from "../../support/app.ts";
import { openStoreLocation, versionsOf } from "../../support/stores.ts";

const clock = { now: () => 1 };

/** A database with two roles: one owns a schema and nothing else, the other may only read and write there. */
async function splitRoles(t: Test) {
	const location = await openStoreLocation(t, "postgres", { bare: true });
	const admin = new pg.Client({ connectionString: location.databaseUrl });
	await admin.connect();
	const owner = `owner_${randomBytes(6).toString("hex")}`;
	const runtime = `runtime_${randomBytes(6).toString("hex")}`;
	// The grants of docs/operations.md.
	await admin.query(`
		create role ${owner} login password 'a';
		create role ${runtime} login password 'b';
		revoke create on schema public from public;
		create schema gatehouse authorization ${owner};
		grant usage on schema gatehouse to ${runtime};
		alter role ${owner} set search_path = gatehouse;
		alter role ${runtime} set search_path = gatehouse;
		alter default privileges for role ${owner} in schema gatehouse
			grant select, insert, update, delete on tables to ${runtime};
	`);
	t.teardown(async () => {
		// One after the other: of both at once PostgreSQL loses count of the default privileges.
		for (const name of [runtime, owner]) await admin.query(`drop owned by ${name} cascade`);
		await admin.query(`drop role ${owner}, ${runtime}`);
		await admin.end();
	});
	const as = (name: string, password: string) => {
		const url = new URL(location.databaseUrl as string);
		url.username = name;
		url.password = password;
		return { ...location, databaseUrl: url.href };
	};
	return { admin, owner: as(owner, "a"), runtime: as(runtime, "b") };
}

async function opened(t: Test, location: Awaited<ReturnType<typeof splitRoles>>["owner"]) {
	const store = await openStore({ ...location, clock });
	t.teardown(() => store.close());
	return store;
}

t.test("K07: the owner of a schema migrates, and a role without DDL serves with MIGRATE=off", async (t) => {
	const { admin, owner, runtime } = await splitRoles(t);
	const early = await opened(t, runtime);
	await t.rejects(early.requireMigrated(), { code: "STORE_OUTDATED", message: /gatehouse migrate/ });
	await t.rejects(early.migrate(), { code: "STORE_ROLE", message: /permission denied.*MIGRATE=off/ });

	t.ok((await (await opened(t, owner)).migrate()).length > 0);
	const { rows } = await admin.query("select distinct schemaname from pg_tables where tableowner like 'owner_%'");
	t.same(rows, [{ schemaname: "gatehouse" }], "nothing outside of its schema");

	const { app, login, services } = await testApp(t, { location: runtime, settings: { MIGRATE: "off" } });
	const { access_token } = (await login("root")).json<{ access_token: string }>();
	const bearer = { headers: { authorization: `Bearer ${access_token}` } };
	t.equal((await app.inject({ url: "/protected", ...bearer })).statusCode, 200);
	t.equal((await app.inject({ method: "POST", url: "/logout", ...bearer })).statusCode, 204);
	t.equal((await app.inject({ url: "/protected", ...bearer })).statusCode, 401);
	await services.credentials.register("ada", goodPassword, ["user"]);
	await services.rotation.rotate();
	for (const purge of [services.sessions.purge, services.revocations.purge]) await purge();
	t.same(await services.store.migrate(), [], "where nothing is missing, that role may migrate as well");
	await t.rejects(
		admin.query(`set role ${new URL(runtime.databaseUrl).username}; create table gatehouse.more (id text)`),
		{
			code: "42501",
		},
	);
	await admin.query("reset role");
});

t.test("a list of migrations of another program in another schema is not taken for ours", async (t) => {
	const { admin, owner } = await splitRoles(t);
	await admin.query(`
		create table public.kysely_migration (name varchar primary key, timestamp varchar not null);
		insert into public.kysely_migration values ('2020-theirs', '2020-01-01T00:00:00.000Z');
	`);
	const store = await opened(t, owner);
	t.ok((await store.migrate()).length > 0);
	t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
	const { rows } = await admin.query("select name from public.kysely_migration");
	t.same(rows, [{ name: "2020-theirs" }]);
});

t.test("a role without a schema is told so", async (t) => {
	const { admin, owner } = await splitRoles(t);
	await admin.query(`alter role ${new URL(owner.databaseUrl).username} set search_path = nowhere`);
	await t.rejects((await opened(t, owner)).migrate(), { code: "STORE_ROLE", message: /no schema.*search_path/ });
});

t.test("fault 12: a start waits for its place where the server has no connection left", async (t) => {
	const { admin, runtime } = await splitRoles(t);
	await admin.query(`alter role ${new URL(runtime.databaseUrl).username} connection limit 1`);
	const hog = new pg.Client({ connectionString: runtime.databaseUrl });
	await hog.connect();
	let open = false;
	const opening = opened(t, runtime).then(() => {
		open = true;
	});
	await new Promise((resolve) => setTimeout(resolve, 400));
	t.notOk(open);
	await hog.end();
	await opening;
});

t.test(
	"fault 12: where the server has no place for one more, statements share the connections that are there",
	async (t) => {
		const { admin, owner, runtime } = await splitRoles(t);
		await (await opened(t, owner)).migrate();
		await admin.query(`alter role ${new URL(runtime.databaseUrl).username} connection limit 2`);
		const store = await opened(t, runtime);
		await Promise.all(Array.from({ length: 20 }, () => sql`select pg_sleep(0.02)`.execute(store.db)));
		const hogs = [0, 1].map(() => new pg.Client({ connectionString: runtime.databaseUrl }));
		await t.rejects(Promise.all(hogs.map((hog) => hog.connect())), { code: "53300" }, "it had both");
		await Promise.all(hogs.map((hog) => hog.end().catch(() => {})));
	},
);

t.test(
	"fault 12: what others have changed is heard where the server has no place for a connection of its own",
	async (t) => {
		const { admin, owner, runtime } = await splitRoles(t);
		await (await opened(t, owner)).migrate();
		const { username } = new URL(runtime.databaseUrl);
		const limit = (connections: number) => admin.query(`alter role ${username} connection limit ${connections}`);
		const held = async () =>
			(await admin.query("select pid, query from pg_stat_activity where usename = $1", [username])).rows;
		await limit(1);
		const store = await opened(t, runtime);
		t.equal((await store.news()).keys.version, 0, "a start that got the last place goes on");
		t.equal((await held()).length, 1);

		await store.close();
		await limit(2);
		const next = await opened(t, runtime);
		await next.news();
		const followed = (await held()).find(({ query }) => /announced_ms/.test(query));
		t.equal((await held()).length, 2, "where there is a place it has one of its own");
		await limit(1);
		await admin.query("select pg_terminate_backend($1, 2000)", [followed?.pid]);
		await new Promise((resolve) => setTimeout(resolve, 50));
		t.equal((await next.news()).keys.version, 0, "one that loses it goes on hearing");
		t.same(await versionsOf(next), { accounts: 0, keys: 0, revocations: 0 });
		t.equal((await held()).length, 1);
	},
);
