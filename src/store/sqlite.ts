/**
 * SQLite through `node:sqlite`: one file, one connection, which callers use in turn. Every call into SQLite is
 * synchronous and short; what may take long, another process's lock, is waited for in JavaScript, so that the
 * event loop goes on meanwhile.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import {
	CompiledQuery,
	type DatabaseConnection,
	type Driver,
	type QueryResult,
	SqliteAdapter,
	SqliteIntrospector,
	SqliteQueryCompiler,
	sql,
} from "kysely";
import { LRUCache } from "lru-cache";
import type { Clock } from "../clock.ts";
import { createHistogram, type Histogram } from "../metrics/histogram.ts";
import { type Backend, sqliteFile, statementBounds } from "./backend.ts";
import { unavailable } from "./failures.ts";
import { ParameterLists } from "./prepared.ts";
import { copyDatabase, logBytesOf, openDatabase, type Patience, retryMs, untilUnlocked } from "./sqlite-file.ts";
import { createTurns, type Turns } from "./turns.ts";

/** A parameter that is the time when its statement runs, and not when it was compiled: see `Store.prepare`. */
const present = Symbol("present");
const CACHED_STATEMENTS = 200;

/** The database `gatehouse.db` in `dataDir`. Nothing is opened yet. */
export function createSqliteBackend({ dataDir, clock }: { dataDir: string; clock: Clock }): Backend {
	const file = sqliteFile(dataDir);
	const statementSeconds = createHistogram(statementBounds);
	/** Of the newest connection: a migration has one of its own before. */
	let turns = createTurns();
	return {
		kind: "sqlite",
		setting: "DATA_DIR",
		dialect: (patienceMs) => ({
			createAdapter: () => new TransactionalSqliteAdapter(),
			createDriver() {
				turns = createTurns();
				return createDriver({ dataDir, file, patienceMs, clock, turns, statementSeconds });
			},
			createIntrospector: (db) => new SqliteIntrospector(db),
			createQueryCompiler: () => new SqliteQueryCompiler(),
		}),
		async examine(db) {
			await sql`select 1`.execute(db);
		},
		findSchema: async () => undefined,
		// BEGIN IMMEDIATE did so.
		lockMigrations: async () => {},
		nowExpression: () => sql<number>`${present}`,
		nowMsExpression: () => sql<number>`cast(unixepoch('subsec') * 1000 as integer)`,
		// A full disk is found out by who writes; there is no other server to turn to.
		readOnlyExpression: () => sql<boolean>`false`,
		serverExpression: () => sql<string>`''`,
		renew: () => {},
		notify: () => {},
		stats: () => ({ statements: statementSeconds.read(), connections: turns.stats() }),
		logBytes: () => logBytesOf(file),
		listen: () => ({ listening: () => undefined, close: async () => {} }),
		backup: (target) => copyDatabase(file, target),
	};
}

/** A class because Kysely's is one. */
class TransactionalSqliteAdapter extends SqliteAdapter {
	/** SQLite can roll a CREATE TABLE back; so a migration runs in BEGIN IMMEDIATE, which locks other processes out. */
	override get supportsTransactionalDdl(): boolean {
		return true;
	}
	/** The driver below queues its callers itself: Kysely's own queue does not know how long each has waited. */
	override get supportsMultipleConnections(): boolean {
		return true;
	}
}

/** Gives the one connection to one caller at a time. */
function createDriver({
	dataDir,
	file,
	patienceMs,
	clock,
	turns,
	statementSeconds,
}: {
	dataDir: string;
	file: string;
	patienceMs: number;
	clock: Clock;
	turns: Turns;
	statementSeconds: Histogram;
}): Driver {
	let database: DatabaseSync;
	let statements: Statements;

	/** While another process holds the lock, whoever only reads goes first: a transaction that has not begun needs no connection. */
	async function pause(): Promise<void> {
		if (database.isTransaction) return void (await sleep(retryMs));
		turns.leave();
		await sleep(retryMs);
		await turns.take();
	}

	return {
		async init() {
			database = await openDatabase(dataDir, file, patienceMs);
			statements = createStatements(database);
		},
		async acquireConnection() {
			// From the moment the caller asked, so that a queue behind a foreign lock is answered in time as a whole.
			const deadline = performance.now() + patienceMs;
			if (!(await turns.take(deadline))) throw unavailable(new Error("The connection was in use for too long"));
			return createConnection(statements, { deadline, pause }, clock, statementSeconds);
		},
		async releaseConnection() {
			turns.leave();
		},
		async beginTransaction(connection) {
			// A deferred BEGIN that turns to writing later fails at once when another process wrote in between.
			await connection.executeQuery(CompiledQuery.raw("begin immediate"));
		},
		async commitTransaction(connection) {
			await connection.executeQuery(CompiledQuery.raw("commit"));
		},
		async rollbackTransaction(connection) {
			// After a full disk or an I/O error SQLite has rolled back by itself, and a second time is an error.
			if (database.isTransaction) await connection.executeQuery(CompiledQuery.raw("rollback"));
		},
		async destroy() {
			await turns.settled();
			database.close();
		},
	};
}

function createConnection(
	statements: Statements,
	patience: Patience,
	clock: Clock,
	statementSeconds: Histogram,
): DatabaseConnection {
	/** `undefined` is NULL, as it is to pg; Node 24 would refuse it. */
	const bound = (parameters: readonly unknown[]) =>
		parameters.map((value) => (value === present ? clock.now() : (value ?? null))) as Parameters<StatementSync["run"]>;

	function run<Row>(text: string, parameters: readonly unknown[]): QueryResult<Row> {
		const { statement, returnsRows } = statements.get(text);
		if (returnsRows) return { rows: statement.all(...bound(parameters)) as Row[] };
		const { changes } = statement.run(...bound(parameters));
		return { rows: [], numAffectedRows: BigInt(changes) };
	}

	/** All or nothing, and the locks and the disk are waited for once. */
	function runEach<Row>(text: string, { lists }: ParameterLists, begin: "begin" | "begin immediate"): QueryResult<Row> {
		const { statement } = statements.get(text);
		statements.get(begin).statement.run();
		try {
			const rows = lists.map((parameters) => statement.get(...bound(parameters)) as Row);
			statements.get("commit").statement.run();
			return { rows };
		} catch (error) {
			// See `rollbackTransaction`.
			if (statements.database.isTransaction) statements.get("rollback").statement.run();
			throw error;
		}
	}

	return {
		executeQuery<Row>({ sql, parameters, query }: CompiledQuery) {
			const startMs = performance.now();
			const [first] = parameters;
			return untilUnlocked(patience, (): QueryResult<Row> => {
				const result =
					first instanceof ParameterLists
						? runEach<Row>(sql, first, query.kind === "SelectQueryNode" ? "begin" : "begin immediate")
						: run<Row>(sql, parameters);
				statementSeconds.observe((performance.now() - startMs) / 1000);
				return result;
			});
		},
		streamQuery() {
			throw new Error("The SQLite store does not stream");
		},
	};
}

type Statements = ReturnType<typeof createStatements>;

/** Prepared statements by their text: preparing costs more than most of them run. Bounded, as `in (?, ?, …)` varies. */
function createStatements(database: DatabaseSync) {
	const cache = new LRUCache<string, { statement: StatementSync; returnsRows: boolean }>({ max: CACHED_STATEMENTS });
	return {
		database,
		get(sql: string) {
			const known = cache.get(sql);
			if (known) return known;
			const statement = database.prepare(sql);
			const entry = { statement, returnsRows: statement.columns().length > 0 };
			cache.set(sql, entry);
			return entry;
		},
	};
}
