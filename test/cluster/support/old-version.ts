/** Earlier versions, out of the project's history. */
import { execFileSync, spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Owner, project } from "../../support/process.ts";
import { temporaryFolder } from "../../support/stores.ts";

/** A commit, and how many migrations it has. */
interface Version {
	commit: string;
	migrations: number;
}

/** The first with sessions, and the last before the newest migration: whoever adds one moves it on. */
export const versions = {
	early: { commit: "72364cd", migrations: 3 },
	previous: { commit: "cff736e", migrations: 8 },
} satisfies Record<string, Version>;

/** An option of a tap test: skips it where the history is not there, as in a shallow clone. */
export const needsHistory = ({ commit }: Version): { skip?: string } =>
	spawnSync("git", ["-C", project, "cat-file", "-e", `${commit}^{commit}`]).status === 0
		? {}
		: { skip: `needs the commit ${commit}, which this clone does not have (git fetch --unshallow)` };

/** Unpacks one into a folder that goes with its owner; answers the folder. It runs with this version's packages. */
export function unpackVersion(owner: Owner, { commit }: Version): string {
	const folder = temporaryFolder(owner);
	const archive = execFileSync("git", ["-C", project, "archive", commit], { maxBuffer: 64 * 1024 * 1024 });
	execFileSync("tar", ["-x", "-C", folder], { input: archive });
	symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
	return folder;
}
