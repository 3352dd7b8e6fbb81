/** Migrations with real processes: started together, killed in the middle, and beside the version before. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Migrator } from "kysely/migration";
import t, { type Test } from "tap";
import { createMigrations } from "../../src/store/migrations.ts";
import { openStore } from "../../src/store/store.ts";
import { freePort } from "../support/free-port.ts";
import { clientOf, start, startServer, type TokenPair } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { type Database, startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { needsHistory, unpackVersion, versions } from "./support/old-version.ts";
import { addUsers, command, commonSettings, startReplicas } from "./support/replicas.ts";
import { connectTo, queryAt } from "./support/sql.ts";

const all = Object.keys(createMigrations("postgres"));

/** An empty database on a server that is there. */
async function emptyDatabase(database: Database, name: string): Promise<string> {
	await database.query(`create database ${name}`);
	const url = new URL(database.url);
	url.pathname = name;
	return url.href;
}

const applied = async (url: string): Promise<unknown[]> => {
	const rows = await queryAt(url, "select name from kysely_migration order by name");
	return rows.map(({ name }) => name);
};

t.test("Z18, fault 25: three replicas that start together on an empty database migrate once", async (t) => {
	const database = await startDatabase(t);
	for (let round = 1; round <= rounds(20); round++) {
		const url = await emptyDatabase(database, `round_${round}`);
		const replicas = await startReplicas(t, url, { settings: { DRAIN_SECONDS: "0" } });
		t.same(await applied(url), all, "one row a migration");
		for (const { url } of replicas) t.equal((await fetch(`${url}/readyz`)).status, 200);
		t.equal((await queryAt(url, "select kid from signing_keys")).length, 1);
		t.equal((await queryAt(url, "select id from users")).length, 1);
		await Promise.all(replicas.map((replica) => replica.kill()));
		progress(`${round} of ${rounds(20)} starts`);
	}
});

t.test(
	"fault 27: a migration that is killed at any moment leaves nothing half done, and the next start does it",
	async (t) => {
		const database = await startDatabase(t);
		let cut = 0;
		for (let round = 1; round <= rounds(50); round++) {
			const url = await emptyDatabase(database, `round_${round}`);
			const migrating = start(t, process.execPath, ["src/main.ts", "migrate"], {
				env: { ...process.env, ...commonSettings(url) },
			});
			const tables = "select tablename from pg_tables where schemaname = 'public'";
			// The processes' start takes most of the time: the interesting moment is when a transaction is open.
			const busy = `select 1 from pg_stat_activity where datname = 'round_${round}' and query like 'create table%'`;
			while (migrating.child.exitCode === null && (await database.query(busy)).length === 0) await sleep(1);
			migrating.signal("SIGKILL");
			await migrating.ended;
			const left = await queryAt(url, tables);
			if (left.length === 0) cut++;
			else t.same(await applied(url), all, "all of it");
			t.equal((await command(t, url, ["migrate"])).code, 0);
			t.same(await applied(url), all);
		}
		t.ok(cut > 0, `${cut} of ${rounds(50)} were cut in the middle`);
		progress(`${cut} of ${rounds(50)} migrations were cut in the middle`);
	},
);

t.test("fault 27: killed while it waits for a table, it has changed none, and holds nobody up", async (t) => {
	const database = await startDatabase(t);
	const url = await emptyDatabase(database, "old");
	await migrateOld(url);
	const reader = await connectTo(url);
	t.teardown(() => reader.end());
	await reader.query("begin");
	await reader.query("select * from changes");
	const migrating = start(t, process.execPath, ["src/main.ts", "migrate"], {
		env: { ...process.env, ...commonSettings(url) },
	});
	const waiting =
		"select 1 from pg_stat_activity where query like 'alter table \"changes\"%' and wait_event_type = 'Lock'";
	const itWaits = () =>
		until("it waits for the table", async () => (await database.query(waiting)).length > 0, {
			seconds: 30,
			everyMs: 10,
		});
	await itWaits();
	const began = performance.now();
	await queryAt(url, "select * from changes");
	t.ok(performance.now() - began < 1500, "who comes later waits a second at most");
	await itWaits();
	migrating.signal("SIGKILL");
	await migrating.ended;
	await reader.query("rollback");
	t.same(await applied(url), all.slice(0, 3));
	t.equal((await command(t, url, ["migrate"])).code, 0);
	t.same(await applied(url), all);
});

for (const [name, version] of Object.entries(versions))
	t.test(
		`Z17, fault 26: the ${name} version and this one serve one database, each the other's sessions`,
		needsHistory(version),
		async (t) => {
			const database = await startDatabase(t);
			const program = [join(unpackVersion(t, version), "src/main.ts")];
			const settings = { ...commonSettings(database.url), PORT: String(await freePort()) };
			const old = await startServer(t, settings, program);
			t.same(await applied(database.url), all.slice(0, version.migrations), "its own migrations");
			const [user = ""] = await addUsers(database, 4);
			const before = await old.pairFor(user);

			t.match(await command(t, database.url, ["migrate"]), {
				code: 0,
				stdout: new RegExp(`^applied ${all[version.migrations]}`),
			});
			const [replica] = await startReplicas(t, database.url, { count: 1, settings: { MIGRATE: "off" } });
			if (!replica) throw new Error("no replica");
			const both = { old, new: clientOf(replica.url) };
			const refresh = async (at: keyof typeof both, token: string) => {
				const answer = await both[at].post("/refresh", { refresh_token: token });
				t.equal(answer.status, 200, `refreshed at ${at}`);
				return (await answer.json()) as TokenPair;
			};

			// What began before the migration goes on at both.
			const across = await refresh("new", before.refresh_token);
			await refresh("old", across.refresh_token);

			for (const [here, there] of [
				["old", "new"],
				["new", "old"],
			] as const) {
				await t.test(`from ${here} to ${there}`, async (t) => {
					const login = await both[here].login("user1");
					t.equal(login.status, 200);
					let pair = (await login.json()) as TokenPair;
					for (let turn = 0; turn < 6; turn++) {
						const at = turn % 2 ? here : there;
						t.equal((await both[at].get("/protected", pair.access_token)).status, 200, `accepted at ${at}`);
						pair = await refresh(at, pair.refresh_token);
					}
					t.equal((await both[here].login("user1", "not the password at all")).status, 401);
					await ends(
						t,
						() => both[here].post("/logout", {}, pair.access_token),
						() => both[there].get("/protected", pair.access_token),
					);
					t.equal((await both[there].post("/refresh", { refresh_token: pair.refresh_token })).status, 401);

					const other = await both[here].pairFor("user2");
					const single = { token: other.access_token };
					await ends(
						t,
						() => both[here].post("/revoke", single, other.access_token),
						() => both[there].get("/protected", other.access_token),
					);

					const first = await both[here].pairFor("user3");
					const second = await both[there].pairFor("user3");
					await ends(
						t,
						() => both[here].post("/logout/all", {}, first.access_token),
						() => both[there].get("/protected", second.access_token),
					);

					// A token that is used twice ends its session at both.
					const thief = await both[here].pairFor("user3");
					let newest = thief;
					for (let turn = 0; turn < 2; turn++) newest = await refresh(there, newest.refresh_token);
					t.equal((await both[here].post("/refresh", { refresh_token: thief.refresh_token })).status, 401);
					await ends(
						t,
						async () => {},
						() => both[there].get("/protected", newest.access_token),
					);
				});
			}

			t.test("a key that this version makes is the old one's too", async (t) => {
				t.equal((await command(t, database.url, ["key", "rotate"])).code, 0);
				const kids = async (at: keyof typeof both) => {
					const { keys } = (await (await both[at].get("/.well-known/jwks.json")).json()) as { keys: { kid: string }[] };
					return keys.map(({ kid }) => kid).sort();
				};
				await until("both show it", async () => (await kids("old")).length === 2 && (await kids("new")).length === 2);
				t.same(await kids("old"), await kids("new"));
				const [{ kid = "" } = {}] = await queryAt(database.url, "select kid from signing_keys where state = 'active'");
				const pair = await both.new.pairFor("user1");
				t.equal((await command(t, database.url, ["key", "revoke", String(kid)])).code, 0);
				await until(
					"its tokens are refused",
					async () => (await both.old.get("/protected", pair.access_token)).status === 401,
				);
				const after = await both.old.pairFor("user1");
				await until(
					"the next key is known",
					async () => (await both.new.get("/protected", after.access_token)).status === 200,
				);
				const fresh = await both.new.pairFor("user1");
				t.equal((await both.old.get("/protected", fresh.access_token)).status, 200);
			});

			t.test("an account that is disabled at one is out at the other", async (t) => {
				const pair = await both.old.pairFor("user2");
				await ends(
					t,
					() => command(t, database.url, ["user", "disable", "user2"]),
					() => both.old.get("/protected", pair.access_token),
				);
				t.equal((await both.old.login("user2")).status, 401);
			});

			t.test("and both under load at once", async (t) => {
				const client = createClient();
				t.teardown(client.close);
				const urls = [old.url, replica.url];
				let steps = 0;
				await Promise.all(
					["user0", "user1", "user3"].map(async (name) => {
						let pair = await client.login(old.url, name);
						for (let turn = 0; turn < rounds(300); turn++) {
							const url = urls[turn % 2] ?? "";
							const answer = await client.send(`${url}/refresh`, { fields: { refresh_token: pair.refresh_token } });
							if (answer.status !== 200) return void t.fail(`${answer.status} ${answer.body}`);
							pair = answer.json();
							if ((await client.send(`${urls[(turn + 1) % 2]}/protected`, { token: pair.access_token })).status === 200)
								steps++;
						}
					}),
				);
				t.equal(steps, 3 * rounds(300));
			});
		},
	);

/** Does it, and sees the token refused elsewhere within a second. */
async function ends(t: Test, act: () => Promise<unknown>, use: () => Promise<Response>): Promise<void> {
	await act();
	const refusedMs = await until("it is refused elsewhere", async () => (await use()).status === 401, { seconds: 3 });
	t.ok(refusedMs < 1000, `refused after ${refusedMs.toFixed(0)} ms`);
}

/** The tables as the version before left them. */
async function migrateOld(url: string): Promise<void> {
	const store = await openStore({ databaseUrl: url, databaseListenUrl: "off", dataDir: "", clock: { now: () => 1 } });
	const old = Object.fromEntries(Object.entries(createMigrations("postgres")).slice(0, 3));
	const { error } = await new Migrator({
		db: store.db,
		provider: { getMigrations: async () => old },
	}).migrateToLatest();
	await store.close();
	if (error) throw error;
}
