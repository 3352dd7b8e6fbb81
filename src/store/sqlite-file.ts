/** The file of a SQLite store: opened, copied, and waited for while another process has locked it. */
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statSync } from "node:fs";
import { backup, DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { isLocked, sqliteFailure } from "./failures.ts";

/** Between two tries. */
export const retryMs = 10;

/**
 * Of a new file; one that exists keeps its own. What is written is small and lies anywhere, such as the session that a refresh
 * moves on, and each write writes its page twice, into the log and at a checkpoint.
 */
const newPageBytes = 1024;
/** After so many bytes of pages in the log of writes they are copied into the file. */
const checkpointBytes = 4_000_000;
/** After a long reader, such as a backup, the log of writes would keep the size that it grew to. */
const logLimitBytes = 4 * 1024 * 1024;

/** How long to try, by `performance.now()`, and what to do in between. */
export interface Patience {
	deadline: number;
	pause(): Promise<unknown>;
}

/** Tries again while another connection holds the lock. */
export async function untilUnlocked<T>({ deadline, pause }: Patience, work: () => T): Promise<T> {
	for (;;) {
		try {
			return work();
		} catch (error) {
			if (!isLocked(error) || performance.now() >= deadline) throw sqliteFailure(error);
			await pause();
		}
	}
}

/** Opens the file of a store, which is made when missing (mode 0600, its folder 0700). Throws STORE_UNAVAILABLE. */
export async function openDatabase(dataDir: string, file: string, patienceMs: number): Promise<DatabaseSync> {
	mkdirSync(dataDir, { recursive: true, mode: 0o700 });
	if (!createPrivate(file)) chmodSync(file, 0o600);
	// timeout 0: SQLite's own waiting would stop the event loop.
	const database = new DatabaseSync(file, { timeout: 0 });
	try {
		await untilUnlocked({ deadline: performance.now() + patienceMs, pause: () => sleep(retryMs) }, () =>
			database.exec(`pragma page_size = ${newPageBytes}; pragma journal_mode = wal; pragma synchronous = full;
				pragma foreign_keys = on; pragma journal_size_limit = ${logLimitBytes}`),
		);
		const { page_size: pageBytes } = database.prepare("pragma page_size").get() as { page_size: number };
		database.exec(`pragma wal_autocheckpoint = ${Math.floor(checkpointBytes / pageBytes)}`);
	} catch (error) {
		database.close();
		throw error;
	}
	return database;
}

/** The size of the log of writes (WAL); `undefined` where there is none yet, or nobody may look. */
export function logBytesOf(file: string): number | undefined {
	try {
		return statSync(`${file}-wal`).size;
	} catch {
		return undefined;
	}
}

/** See `Store.backup`. */
export async function copyDatabase(file: string, target: string): Promise<void> {
	if (!createPrivate(target))
		throw Object.assign(new Error(`${target} exists already: a backup never overwrites a file`), { code: "EEXIST" });
	// A connection of its own: the shared one may be inside a transaction, whose half would be copied.
	const source = new DatabaseSync(file, { readOnly: true });
	try {
		// All pages in one step, on another thread: in several, a busy writer makes the copy start again for ever.
		await backup(source, target, { rate: 2 ** 31 - 1 });
	} catch (error) {
		rmSync(target, { force: true });
		throw sqliteFailure(error);
	} finally {
		source.close();
	}
}

/**
 * Makes an empty file that only its owner can read, before anything is written into it; false when it exists.
 * Never opens an existing one: closing a file drops all POSIX locks this process holds on it, SQLite's too.
 */
function createPrivate(file: string): boolean {
	try {
		closeSync(openSync(file, "wx", 0o600));
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
		throw error;
	}
}
