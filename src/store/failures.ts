/**
 * What a driver's error means. Only two meanings matter above the store: "it cannot be reached or written" becomes
 * STORE_UNAVAILABLE, which clients may try again, and a broken UNIQUE is told by `isUniqueViolation`. Everything
 * else passes through as it is: it is a fault of ours and must show as one.
 */
import { errors } from "../errors.ts";

/** Primary result codes: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN (sqlite.org/rescode.html). */
const sqliteOutages = new Set([5, 6, 8, 10, 13, 14]);

/**
 * SQLSTATE classes and codes: connection, resources, system errors, operator intervention (57014 is the statement
 * timeout), read-only after a failover, time-outs of an idle session; a transaction that PostgreSQL gave up in favour of
 * another one (40001, 40P01), of which nothing was done.
 */
const postgresOutage = /^(08|53|57|58|25006|25P03|25P04|25P05|40001|40P01)/;

/** The error to throw in place of one from node:sqlite. */
export function sqliteFailure(error: unknown): unknown {
	const code = sqliteCode(error);
	return code !== undefined && sqliteOutages.has(code & 0xff) ? unavailable(error) : error;
}

/** The error to throw in place of one that a query of pg ended with. */
export function postgresFailure(error: unknown): unknown {
	const state = sqlState(error);
	if (state !== undefined) return postgresOutage.test(state) ? unavailable(error) : error;
	// Not the server's word: the socket, a time-out or the driver's state, which have no common mark.
	// What pg says about a caller's mistake is a TypeError or has a code of Node.
	const code = (error as { code?: unknown } | undefined)?.code;
	const mistake = error instanceof TypeError || (typeof code === "string" && code.startsWith("ERR_"));
	return mistake ? error : unavailable(error);
}

/** STORE_UNAVAILABLE because of `cause`, which only the log sees. */
export function unavailable(cause: unknown): Error {
	return new errors.STORE_UNAVAILABLE({ cause });
}

/** Waits for work that the caller can do without: where the store fails it is let be. */
export async function quietly(work: Promise<void>): Promise<void> {
	try {
		await work;
	} catch (error) {
		if (!(error instanceof errors.STORE_UNAVAILABLE)) throw error;
	}
}

/** Whether another connection held SQLite's lock: the one failure worth waiting for. */
export function isLocked(error: unknown): boolean {
	return ((sqliteCode(error) ?? 0) & 0xff) === 5;
}

/** Whether the file is no SQLite database, or a broken one (CORRUPT, NOTADB). */
export function isDamaged(error: unknown): boolean {
	const code = (sqliteCode(error) ?? 0) & 0xff;
	return code === 11 || code === 26;
}

/** Whether an insert or update broke a UNIQUE constraint or a primary key, on either store. */
export function isUniqueViolation(error: unknown): boolean {
	const code = sqliteCode(error);
	return code === 2067 || code === 1555 || sqlState(error) === "23505";
}

/** Whether a role lacks the right (PostgreSQL's 42501). */
export const isDenied = (error: unknown): boolean => sqlState(error) === "42501";

/** Whether PostgreSQL's lock_timeout passed. */
export const isLockTimeout = (error: unknown): boolean => sqlState(error) === "55P03";

/** Whether PostgreSQL takes no writes. */
export const isReadOnly = (error: unknown): boolean => sqlState(error) === "25006";

/** Whether PostgreSQL will take a connection soon: it has as many as it may (53300), or is still starting (57P03). */
export const isTooSoon = (error: unknown): boolean => {
	const state = sqlState(error) ?? sqlState((error as { cause?: unknown } | undefined)?.cause);
	return state === "53300" || state === "57P03";
};

/** What a person has to put right before the service can start: a code, and a message that says what. */
export const storeRefusal = (code: string, message: string, cause?: unknown): Error =>
	Object.assign(new Error(message, { cause }), { code });

/** SQLite's extended result code. */
function sqliteCode(error: unknown): number | undefined {
	const { code, errcode } = (error ?? {}) as {
		code?: unknown;
		errcode?: unknown;
	};
	return code === "ERR_SQLITE_ERROR" && typeof errcode === "number" ? errcode : undefined;
}

/** The five characters the PostgreSQL server sent; a Node error such as EPIPE looks alike but has no severity. */
function sqlState(error: unknown): string | undefined {
	const { code, severity } = (error ?? {}) as {
		code?: unknown;
		severity?: unknown;
	};
	return typeof code === "string" && typeof severity === "string" ? code : undefined;
}
