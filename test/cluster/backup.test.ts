/** A backup is made while the service works, and a service that is started on it works. */
import { execFileSync } from "node:child_process";
import { cpSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import t, { type Test } from "tap";
import { clientOf, run, type Settings, startServer, type TokenPair } from "../support/process.ts";
import { progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { databaseFolder, databaseUser, startDatabase } from "./support/database.ts";
import { createClient, failures, startLoad, summary } from "./support/load.ts";
import { addUsers, commonSettings } from "./support/replicas.ts";

/** Loads a service, revokes a session, copies the store, and looks at what a service on the copy knows. */
async function backUp(
	t: Test,
	settings: Settings,
	{ usernames, copy }: { usernames: readonly string[]; copy: () => Promise<Settings> },
): Promise<void> {
	const original = await startServer(t, settings);
	const client = createClient();
	t.teardown(client.close);
	const ended = await client.login(original.url, "root");
	const living = await client.login(original.url, "root");
	await clientOf(original.url).post("/logout", {}, ended.access_token);
	const load = await startLoad(t, original.url, usernames, { perSecond: 100, sessions: 10 });
	const restored = await copy();
	const during = load.samples.length;
	const samples = await load.stop();
	progress(`${summary(samples)}; ${during} requests while it was copied`);
	t.same(failures(samples), [], "nobody noticed");
	await original.kill();

	const again = await startServer(t, restored);
	const status = async (path: string, token: string) => (await client.send(`${again.url}${path}`, { token })).status;
	const refresh = async (token: string) =>
		(await client.send(`${again.url}/refresh`, { fields: { refresh_token: token } })).status;
	await client.login(again.url, usernames[0] ?? "");
	t.equal(await status("/protected", living.access_token), 200, "what was valid is valid");
	t.equal(await refresh(living.refresh_token), 200);
	t.equal(await status("/protected", ended.access_token), 401, "what was revoked stays revoked");
	t.equal(await refresh(ended.refresh_token), 401);
	await again.kill();
}

t.test("Z19: `backup` copies a loaded SQLite store, and the copy serves", async (t) => {
	const settings = { ...commonSettings(""), DATABASE_URL: undefined, DATA_DIR: temporaryFolder(t) };
	const folder = temporaryFolder(t);
	await backUp(t, settings, {
		usernames: ["root"],
		async copy() {
			const { code, stderr } = await run(t, ["backup", join(folder, "gatehouse.db")], settings);
			t.equal(code, 0, stderr);
			return { ...settings, DATA_DIR: folder };
		},
	});
});

t.test("Z19: a backup is put in the place of a store that was killed, as docs/operations.md says", async (t) => {
	const settings = { ...commonSettings(""), DATABASE_URL: undefined, DATA_DIR: temporaryFolder(t) };
	const copy = join(temporaryFolder(t), "copy.db");
	const server = await startServer(t, settings);
	const before = await server.pairFor("root");
	t.equal((await run(t, ["backup", copy], settings)).code, 0);
	const after = await server.pairFor("root");
	// As a crash does, this leaves the log of writes behind, with the session that came after the backup.
	await server.kill();
	t.ok(statSync(join(settings.DATA_DIR, "gatehouse.db-wal")).size > 0);
	for (const name of ["gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm"]) rmSync(join(settings.DATA_DIR, name));
	cpSync(copy, join(settings.DATA_DIR, "gatehouse.db"));

	const again = await startServer(t, settings);
	const refresh = async (pair: TokenPair) =>
		(await again.post("/refresh", { refresh_token: pair.refresh_token })).status;
	t.same([await refresh(before), await refresh(after)], [200, 401], "what was true when the backup was made");
	await again.kill();
	const database = new DatabaseSync(join(settings.DATA_DIR, "gatehouse.db"));
	t.same(database.prepare("pragma integrity_check").all(), [{ integrity_check: "ok" }]);
	database.close();
});

t.test("Z19: PostgreSQL's online backup of a loaded store restores to a service that works", async (t) => {
	const database = await startDatabase(t);
	const settings = commonSettings(database.url);
	// The first start makes the tables, and `root`.
	await (await startServer(t, settings)).kill();
	await backUp(t, settings, {
		usernames: await addUsers(database, 5),
		async copy() {
			// What pg_basebackup does: one connection begins and ends it, and the files are copied meanwhile.
			const connection = new pg.Client({ connectionString: database.url });
			await connection.connect();
			await connection.query("select pg_backup_start('cluster test', true)");
			const folder = databaseFolder(t);
			cpSync(database.data, folder, { recursive: true, filter: (path) => !path.endsWith("postmaster.pid") });
			const { rows } = await connection.query<{ labelfile: string }>("select labelfile from pg_backup_stop(false)");
			await connection.end();
			// The log that was written meanwhile is part of it.
			rmSync(join(folder, "pg_wal"), { recursive: true });
			cpSync(join(database.data, "pg_wal"), join(folder, "pg_wal"), { recursive: true });
			giveToDatabase(folder, rows[0]?.labelfile ?? "");
			const restored = await startDatabase(t, { folder });
			return { ...settings, DATABASE_URL: restored.url };
		},
	});
});

/** Writes the label without which it would not be a backup, and gives all of it to PostgreSQL's user. */
function giveToDatabase(folder: string, label: string): void {
	writeFileSync(join(folder, "backup_label"), label);
	const { uid } = databaseUser();
	if (uid !== undefined) execFileSync("chown", ["-R", "postgres:postgres", folder]);
}
