/** What tests need of the machine. Where a program is missing, its tests say so and are skipped; `.ci/run` installs them. */
import { spawnSync } from "node:child_process";

/** Where a program comes with another package than that of its name. */
const packageOf: Record<string, string> = { "mkfs.ext4": "e2fsprogs", e2fsck: "e2fsprogs" };

/** An option of a tap test: skips it, in clear words, where one of these programs is missing. */
export function needs(...programs: string[]): { skip?: string } {
	const missing = programs.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
	const packages = new Set(missing.map((name) => packageOf[name] ?? name));
	return missing.length === 0
		? {}
		: { skip: `needs ${missing.join(" and ")} (apt-get install ${[...packages].join(" ")})` };
}
