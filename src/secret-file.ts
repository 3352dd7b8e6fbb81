/** Files that hold one secret, readable by this service alone. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { randomId } from "./random.ts";

/**
 * The secret in a file; where there is none, a new one is written with mode 0600. The file appears whole or not at
 * all, and two processes that start together agree, because only one of them can give it its name.
 */
export function readOrCreate(file: string, make: () => string): string {
	mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
	const draft = `${file}.${randomId()}`;
	try {
		return readFileSync(file, "utf8").trim();
	} catch (error) {
		if (!hasCode(error, "ENOENT")) throw error;
	}
	try {
		writeFileSync(draft, `${make()}\n`, { flag: "wx", mode: 0o600 });
		linkSync(draft, file);
	} catch (error) {
		if (!hasCode(error, "EEXIST")) throw error;
	} finally {
		rmSync(draft, { force: true });
	}
	return readFileSync(file, "utf8").trim();
}

const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;
