/** Files that hold one secret, readable by this service alone. */
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { randomId } from "./random.ts";

/**
 * The secret in a file; where there is none, a new one is written with mode 0600. The file appears whole or not at
 * all, and two processes that start together agree, because only one of them can give it its name. It is on the disk
 * before anybody has it: what is sealed under it would outlive a power loss that it does not.
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
		writeFileSync(draft, `${make()}\n`, { flag: "wx", mode: 0o600, flush: true });
		linkSync(draft, file);
	} catch (error) {
		if (!hasCode(error, "EEXIST")) throw error;
	} finally {
		rmSync(draft, { force: true });
	}
	syncFolder(dirname(file));
	return readFileSync(file, "utf8").trim();
}

/** Puts the names in a folder on the disk: syncing a file does that for its content alone. */
function syncFolder(folder: string): void {
	const opened = openSync(folder, "r");
	try {
		fsyncSync(opened);
	} finally {
		closeSync(opened);
	}
}

const hasCode = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException).code === code;
