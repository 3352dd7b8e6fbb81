/** The version before this one, out of the project's history. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Owner, project } from "../../support/process.ts";

/** The last commit whose migrations end with 0003. */
const commit = "72364cd";

/** An option of a tap test: skips it where the history is not there, as in a shallow clone. */
export const needsHistory = (): { skip?: string } =>
	spawnSync("git", ["-C", project, "cat-file", "-e", `${commit}^{commit}`]).status === 0
		? {}
		: { skip: `needs the commit ${commit}, which this clone does not have (git fetch --unshallow)` };

/** Unpacks it into a folder that goes with its owner; answers its program. It runs with this version's packages. */
export function unpackOldVersion(owner: Owner): string[] {
	const folder = mkdtempSync(join(tmpdir(), "gatehouse-old-"));
	owner.teardown(() => rmSync(folder, { recursive: true, force: true }));
	mkdirSync(folder, { recursive: true });
	const archive = execFileSync("git", ["-C", project, "archive", commit, "src", "plugins", "routes", "package.json"], {
		maxBuffer: 64 * 1024 * 1024,
	});
	execFileSync("tar", ["-x", "-C", folder], { input: archive });
	symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
	return [join(folder, "src/main.ts")];
}
