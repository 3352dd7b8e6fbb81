/** The suite of `npm test`, of this version or of another, on a PostgreSQL that a test has prepared. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { Test } from "tap";
import { project, start } from "../../support/process.ts";
import { full } from "../../support/rounds.ts";
import { temporaryFolder } from "../../support/stores.ts";
import { countsIn, failuresIn } from "../../support/tap-output.ts";

/** With `ROUNDS=ci` a part of it. */
const folders = full ? "**" : "{e2e,sessions,throttle,routes}/**";

/** The test files of a version, by their paths in its folder. */
export const filesOf = (folder: string): string[] =>
	globSync(`test/${folders}/*.test.ts`, { cwd: folder }).filter((file) => !file.startsWith("test/cluster/"));

/** Those that have tests on PostgreSQL, but for some, by their names. */
export const filesOnPostgres = (folder: string, without: readonly string[]): string[] =>
	filesOf(folder).filter(
		(file) =>
			!without.some((name) => file.endsWith(`/${name}`)) &&
			/onEachStore|openStoreLocation|postgres/.test(readFileSync(join(folder, file), "utf8")),
	);

/**
 * Runs files of a suite.
 *
 * @param server the address that they make their databases at.
 * @param folder the version, whose packages are there.
 * @param node the Node that runs it. What its tests start by npm's scripts still runs on that of the packages.
 * @returns how many assertions passed, and what failed.
 */
export async function runSuite(
	t: Test,
	{
		server,
		files,
		folder = project,
		node = process.execPath,
	}: { server: string; files: readonly string[]; folder?: string; node?: string },
): Promise<{ passed: number; failures: string }> {
	const results = temporaryFolder(t);
	const output = join(results, "output.tap");
	const words = [join(folder, "node_modules/.bin/tap"), "--reporter=silent", `--output-file=${output}`, ...files];
	// With its own limit for a file, its own counts, and the program of its own version.
	const { TAP_TIMEOUT: _, ROUNDS: __, TEST_PROGRAM: ___, ...rest } = process.env;
	const env = {
		...rest,
		PATH: `${dirname(node)}${delimiter}${process.env.PATH}`,
		TEST_DATABASE_URL: server,
		NODE_COMPILE_CACHE: join(results, "compiled"),
	};
	const { code, stderr } = await start(t, node, words, { cwd: folder, env }).ended;
	const raw = existsSync(output) ? readFileSync(output, "utf8") : "";
	const failures = failuresIn(raw) || (code === 0 ? "" : `tap ended with ${code}: ${stderr}`);
	return { passed: countsIn(raw).passed, failures };
}
