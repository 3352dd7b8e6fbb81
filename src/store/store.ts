/**
 * The store: one Kysely over SQLite or PostgreSQL. Everything above sees the same tables, the same errors and the
 * same promises, whichever it is.
 */
import { existsSync } from "node:fs";
import { type Compilable, Kysely, type LogEvent, type RawBuilder, sql, type Transaction } from "kysely";
import type { Clock } from "../clock.ts";
import { untilAdmitted } from "./admission.ts";
import { type Listener, type ListenOptions, type StoreStats, sqliteFile } from "./backend.ts";
import { cannotOpen } from "./cannot-open.ts";
import { unavailable } from "./failures.ts";
import { migrate, requireMigrated } from "./migrate.ts";
import type { StoreKind } from "./migrations.ts";
import { prepare, prepareEach, type Slot } from "./prepared.ts";
import type { ChangeTopic, Schema } from "./schema.ts";

export { isUniqueViolation, quietly } from "./failures.ts";
export type { Slot } from "./prepared.ts";

/** A request that waits longer for a statement is answered 503: a moment less than the promised two seconds. */
const PATIENCE_MS = 1900;

/** An open database. Every query may end in STORE_UNAVAILABLE. */
export interface Store {
	readonly kind: StoreKind;
	readonly db: Kysely<Schema>;
	/**
	 * For what a replica has to hear of in time, such as revocations: on PostgreSQL a connection of its own, so that no flood
	 * of requests and no lock on their tables keeps it waiting. Not for transactions.
	 */
	readonly following: Kysely<Schema>;
	/** Epoch seconds that replicas may compare: PostgreSQL's clock, the injected clock with SQLite. */
	now(): Promise<number>;
	/** The same inside a statement, so that asking for the time costs no question of its own. */
	nowExpression(): RawBuilder<number>;
	/**
	 * A statement of the hot path, built and compiled once: that costs more than most statements run. `slot("name")`
	 * stands for the value that each call gives under that name.
	 */
	prepare<Values extends object, Row>(
		build: (slot: Slot<Values>) => Compilable<Row>,
	): (values: Values) => Promise<Row[]>;
	/**
	 * SQLite: the same for many values, all in one transaction: less work than one statement that takes them all. Answers the
	 * first row of each, if it has one. PostgreSQL, for which each would be a way there and back: always throws.
	 */
	prepareEach<Values extends object, Row>(
		build: (slot: Slot<Values>) => Compilable<Row>,
	): (all: readonly Values[]) => Promise<(Row | undefined)[]>;
	/** Applies the migrations that are missing, each once even when several processes start together; returns their names. */
	migrate(): Promise<string[]>;
	/** Throws where a migration is missing; a store that is newer than this program passes. */
	requireMigrated(): Promise<void>;
	/** Runs all of `work` in one transaction, or nothing of it. After a commit that announced something others are woken. */
	transaction<Result>(work: (transaction: Transaction<Schema>) => Promise<Result>): Promise<Result>;
	/**
	 * Increments a topic's version inside the caller's transaction, one of `transaction`. The row stays locked until that
	 * commits, so versions become visible in order: a reader that saw version n has missed no change up to n. Announce
	 * several topics in alphabetical order, or two transactions can wait for each other. Answers the new version.
	 */
	announce(transaction: Transaction<Schema>, topic: ChangeTopic): Promise<number>;
	/**
	 * The version of every topic, of a database that takes writes, with when each was announced and what time it is now, both
	 * by the store's clock; in one cheap query.
	 */
	news(): Promise<Record<ChangeTopic, News>>;
	/**
	 * Calls back when something may have been announced, by this process or another: a wake-up for whoever polls, which
	 * can be late, lost or for nothing. PostgreSQL: LISTEN on a connection of its own, opened again whenever it breaks.
	 * SQLite has no such thing: there nobody is woken.
	 */
	listen(options: ListenOptions): Listener;
	/** How long statements took so far, and who waits for a connection now. */
	stats(): StoreStats;
	/** The size of SQLite's log of writes (WAL), which grows for as long as a reader stays. PostgreSQL sees to its own. */
	logBytes(): number | undefined;
	/**
	 * SQLite: copies the live database to a new file of mode 0600; throws when the file exists.
	 * PostgreSQL: always throws, naming pg_dump.
	 */
	backup(file: string): Promise<void>;
	/** Waits for running queries, then closes every connection. */
	close(): Promise<void>;
}

/** A statement that has ended, as traces may show it. */
export interface Statement {
	database: "sqlite" | "postgresql";
	/** Its first word, or `other`. */
	kind: string;
	durationMs: number;
	failed: boolean;
}

/** How far a topic is. */
export interface News {
	version: number;
	/** Milliseconds of the store's clock: when this version was announced, a moment before its commit; and now. */
	announcedMs: number | null;
	nowMs: number;
	/** Which server said so: PostgreSQL's, since it was started. */
	server: string;
}

/**
 * Opens PostgreSQL where `databaseUrl` is given, else `gatehouse.db` in `dataDir`, which is made when missing (mode
 * 0700, the file 0600). Does not migrate. Throws STORE_UNAVAILABLE, with a message that names the setting, when the
 * database does not answer within about two seconds.
 */
export async function openStore({
	databaseUrl,
	databaseListenUrl = databaseUrl,
	dataDir,
	clock,
	onStatement,
}: {
	databaseUrl: string | undefined;
	/** Where to wait for notifications; `off` neither waits nor sends any. */
	databaseListenUrl?: string | undefined;
	dataDir: string;
	clock: Clock;
	/** Hears of every statement of requests, in the asynchronous context of who asked. */
	onStatement?: ((statement: Statement) => void) | undefined;
}): Promise<Store> {
	// Imported on need: the driver that is not used costs neither memory nor time at start.
	const backend =
		databaseUrl === undefined
			? (await import("./sqlite.ts")).createSqliteBackend({ dataDir, clock })
			: (await import("./postgres.ts")).createPostgresBackend({ databaseUrl, databaseListenUrl });
	const log = onStatement && ((event: LogEvent) => onStatement(statementOf(backend.kind, event)));
	const db = new Kysely<Schema>({ dialect: backend.dialect(PATIENCE_MS), ...(log && { log }) });
	// SQLite has one connection, which callers use in turn.
	const following =
		backend.kind === "sqlite" ? db : new Kysely<Schema>({ dialect: backend.dialect(PATIENCE_MS, "following") });
	const askNews = prepare(following, () => {
		const now = backend.nowMsExpression().as("nowMs");
		const readOnly = backend.readOnlyExpression().as("readOnly");
		const server = backend.serverExpression().as("server");
		const columns = ["topic", "version", "announced_ms as announcedMs", now, readOnly, server] as const;
		return following.selectFrom("changes").select(columns);
	});
	/** The transactions of `transaction`, and whether they have announced something. */
	const begun = new WeakMap<Transaction<Schema>, { announced: boolean }>();
	try {
		await untilAdmitted(() => backend.examine(db));
	} catch (error) {
		await db.destroy();
		throw cannotOpen(backend, error);
	}

	return {
		kind: backend.kind,
		db,
		following,
		async now() {
			const { rows } = await sql<{ now: number }>`select ${backend.nowExpression()} as now`.execute(db);
			return (rows[0] as { now: number }).now;
		},
		nowExpression: () => backend.nowExpression(),
		prepare: (build) => prepare(db, build),
		prepareEach(build) {
			if (backend.kind !== "sqlite") throw new Error("store.prepareEach is for SQLite");
			return prepareEach(db, build);
		},
		migrate: () => migrate(backend),
		requireMigrated: () => requireMigrated(db, backend),
		async transaction(work) {
			const note = { announced: false };
			const result = await db.transaction().execute((transaction) => {
				begun.set(transaction, note);
				return work(transaction);
			});
			if (note.announced) backend.notify();
			return result;
		},
		async announce(transaction, topic) {
			const note = begun.get(transaction);
			if (!note) throw new Error("store.announce needs a transaction of store.transaction");
			const row = await transaction
				.updateTable("changes")
				.set((changes) => ({ version: changes("version", "+", 1), announced_ms: backend.nowMsExpression() }))
				.where("topic", "=", topic)
				.returning("version")
				.executeTakeFirst();
			// Without its row a topic would stay silent, and other replicas would never hear of a disabled account.
			if (!row) throw new Error(`The table changes has no row for ${topic}`);
			note.announced = true;
			return row.version;
		},
		async news() {
			const rows = await askNews({});
			// After a failover the old server may still answer, and nothing that it says is news: ask over other connections.
			if (rows[0]?.readOnly) {
				backend.renew();
				throw unavailable(new Error("the database takes no writes: it may not be the primary any more"));
			}
			return Object.fromEntries(rows.map(({ topic, readOnly: _, ...news }) => [topic, news])) as Record<
				ChangeTopic,
				News
			>;
		},
		listen: (options) => backend.listen(options),
		stats: () => backend.stats(),
		logBytes: () => backend.logBytes(),
		backup: (file) => backend.backup(file),
		async close() {
			await db.destroy();
			if (following !== db) await following.destroy();
		},
	};
}

/** Of the text only the first word, and only one that is known: nothing of it can be somebody's data. */
function statementOf(kind: StoreKind, { level, query, queryDurationMillis }: LogEvent): Statement {
	const word = /^\s*(select|insert|update|delete|with|begin|start|commit|rollback)\b/i.exec(query.sql)?.[1];
	return {
		database: kind === "sqlite" ? "sqlite" : "postgresql",
		kind: word?.toLowerCase() ?? "other",
		durationMs: queryDurationMillis,
		failed: level === "error",
	};
}

/** Whether there is a store to open. PostgreSQL says so itself, when it is opened. */
export function storeExists({ databaseUrl, dataDir }: { databaseUrl: string | undefined; dataDir: string }): boolean {
	return databaseUrl !== undefined || existsSync(sqliteFile(dataDir));
}
