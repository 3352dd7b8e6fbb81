/** What tests need of the machine. Where a program is missing, its tests say so and are skipped; `.ci/run` installs them. */
import { spawnSync } from "node:child_process";

/** An option of a tap test: skips it, in clear words, where one of these programs is missing. */
export function needs(...programs: string[]): { skip?: string } {
	const missing = programs.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
	return missing.length === 0 ? {} : { skip: `needs ${missing.join(" and ")} (apt-get install ${missing.join(" ")})` };
}
