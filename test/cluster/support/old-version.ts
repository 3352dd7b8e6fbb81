/** Earlier versions, out of the project's history. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Owner, project } from "../../support/process.ts";

/** The last commit whose migrations end with 0003, and the last before the newest migration. */
export const versions = { early: "72364cd", before: "cff736e" };

/** An option of a tap test: skips it where the history is not there, as in a shallow clone. */
export const needsHistory = (commit: string): { skip?: string } =>
	spawnSync("git", ["-C", project, "cat-file", "-e", `${commit}^{commit}`]).status === 0
		? {}
		: { skip: `needs the commit ${commit}, which this clone does not have (git fetch --unshallow)` };

/** Unpacks one into a folder that goes with its owner; answers the folder. It runs with this version's packages. */
export function unpackVersion(owner: Owner, commit: string): string {
	const folder = mkdtempSync(join(tmpdir(), "gatehouse-old-"));
	owner.teardown(() => rmSync(folder, { recursive: true, force: true }));
	const archive = execFileSync("git", ["-C", project, "archive", commit], { maxBuffer: 64 * 1024 * 1024 });
	execFileSync("tar", ["-x", "-C", folder], { input: archive });
	symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
	return folder;
}
