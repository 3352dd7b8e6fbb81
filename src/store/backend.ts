/** What SQLite and PostgreSQL each bring; `store.ts` makes a Store of either. */
import { join } from "node:path";
import type { Dialect, Kysely, RawBuilder, Transaction } from "kysely";
import type { Log } from "../log.ts";
import type { Distribution } from "../metrics/histogram.ts";
import type { StoreKind } from "./migrations.ts";
import type { Schema } from "./schema.ts";

/** What to do when another process has changed something. */
export interface ListenOptions {
	onWake(): void;
	log: Log;
}

/** Somebody who waits for notifications. */
export interface Listener {
	/** Whether they would arrive; undefined where there are none, and polling does it alone. */
	listening(): boolean | undefined;
	close(): Promise<void>;
}

/** How a store does. SQLite has one connection. */
export interface StoreStats {
	/** How long statements took, in seconds, without the wait for a connection. */
	statements: Distribution;
	/** Connections that work and that have nothing to do, and callers that wait for one. */
	connections: { inUse: number; idle: number; waiting: number };
}

/** Bounds of the histogram of statements, in seconds; the last one is the patience with them. */
export const statementBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2];

/** The file of a SQLite store. */
export const sqliteFile = (dataDir: string): string => join(dataDir, "gatehouse.db");

/** One database and the ways in which it differs from the other kind. */
export interface Backend {
	readonly kind: StoreKind;
	/** The setting that says where it is, for the error that a person reads when it cannot be opened. */
	readonly setting: "DATA_DIR" | "DATABASE_URL";
	/**
	 * Connections of their own, on which a statement fails with STORE_UNAVAILABLE after `patienceMs`.
	 *
	 * @param purpose `following`: see `Store.following`.
	 */
	dialect(patienceMs: number, purpose?: "requests" | "following"): Dialect;
	/**
	 * Asks the first question of all, and whether this service can do with what answers.
	 *
	 * @throws what a query throws, or with the code STORE_SETTINGS.
	 */
	examine(db: Kysely<Schema>): Promise<void>;
	/** The schema in which the tables are, or will be made, where the database has such a thing. */
	findSchema(db: Kysely<Schema>): Promise<string | undefined>;
	/** Waits until no other process migrates, and keeps others waiting until the transaction ends. */
	lockMigrations(transaction: Transaction<Schema>, patienceMs: number): Promise<void>;
	/** See `Store.nowExpression`. */
	nowExpression(): RawBuilder<number>;
	/** The same clock in whole milliseconds. */
	nowMsExpression(): RawBuilder<number>;
	/** Whether what answers takes no writes. */
	readOnlyExpression(): RawBuilder<boolean>;
	/** Which server answers, as text: another one after a failover and after a restart. */
	serverExpression(): RawBuilder<string>;
	/** Uses no connection again that is open now. */
	renew(): void;
	/** Wakes the other replicas that listen: something was announced, and committed. */
	notify(): void;
	/** See `Store.stats`. */
	stats(): StoreStats;
	/** See `Store.logBytes`. */
	logBytes(): number | undefined;
	/** See `Store.listen`. */
	listen(options: ListenOptions): Listener;
	/** See `Store.backup`. */
	backup(file: string): Promise<void>;
}
