/** A copy of the project into which a test drops files, as a reader of the docs would, and the compiler over it. */
import { spawnSync } from "node:child_process";
import { cpSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Test } from "tap";
import { withoutTap } from "./process.ts";
import { temporaryFolder } from "./stores.ts";

const root = resolve(import.meta.dirname, "../..");

/** Copies all that a running service needs, and `test/support/`; answers the folder. */
export function copyProject(t: Test): string {
	const copy = temporaryFolder(t);
	for (const path of ["src", "plugins", "routes", "test/support", "package.json", "tsconfig.json"])
		cpSync(join(root, path), join(copy, path), { recursive: true });
	symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
	return copy;
}

/** What the compiler says of the plugins and the routes in such a folder; nothing where all is well. */
export function compile(folder: string): string {
	writeFileSync(join(folder, "check.json"), '{ "extends": "./tsconfig.json", "include": ["plugins", "routes"] }');
	const args = [...withoutTap, process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", "check.json"];
	const { status, stdout, stderr } = spawnSync("env", args, { cwd: folder, encoding: "utf8" });
	return status === 0 ? "" : `exit code ${status}\n${stdout}${stderr}`;
}
