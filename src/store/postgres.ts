/**
 * PostgreSQL through a pool of `pg`. A database that hangs must cost a caller no more than a bounded time, so there
 * is a limit on connecting, on each statement at both ends, and on a transaction whose owner went silent.
 */
import {
	PostgresAdapter,
	PostgresDialect,
	type PostgresPool,
	type PostgresPoolClient,
	type PostgresQueryResult,
	sql,
} from "kysely";
import pg from "pg";
import type { Backend } from "./backend.ts";
import { postgresFailure, unavailable } from "./failures.ts";
import { createNotifier, openListener } from "./notifications.ts";

const CONNECT_MS = 1000;
/** A frozen replica may hold a row of `changes` that every other replica waits for. */
const IDLE_IN_TRANSACTION_MS = 5000;
const MAX_CONNECTIONS = 10;
/** How long a migration may wait for a table that is in use. */
const TABLE_LOCK_MS = 1000;
/** Kysely's own number, so that a version which lets Kysely lock waits too. */
const MIGRATION_LOCK = BigInt("3853314791062309107");
/** PostgreSQL's type id of bigint. */
const INT8 = 20;
/** How `Store.announce` begins, in Kysely's words: a test fails where they change. */
const announcement = 'update "changes" set';

/** The database that `databaseUrl` names. Nothing is connected yet. */
export function createPostgresBackend({
	databaseUrl,
	databaseListenUrl = databaseUrl,
}: {
	databaseUrl: string;
	/** See `openStore`. */
	databaseListenUrl?: string | undefined;
}): Backend {
	const notifies = databaseListenUrl !== "off";
	return {
		kind: "postgres",
		setting: "DATABASE_URL",
		dialect: (patienceMs) => new Dialect({ pool: guard(createPool(databaseUrl, patienceMs), notifies) }),
		async findSchema(db) {
			const { rows } = await sql<{ schema: string | null }>`select current_schema() as schema`.execute(db);
			const schema = rows[0]?.schema;
			if (schema) return schema;
			const message =
				"DATABASE_URL leads to no schema that this role may use: create one, or set the role's search_path to it.";
			throw Object.assign(new Error(message), { code: "STORE_ROLE" });
		},
		async lockMigrations(transaction, patienceMs) {
			// Behind PgBouncer the limits of this connection's start do not count.
			await sql`select set_config('statement_timeout', ${String(patienceMs)}, true)`.execute(transaction);
			await sql`select pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(transaction);
			// Whoever waits for a table's lock keeps everybody waiting who comes later, logins too: better to try again.
			await sql`select set_config('lock_timeout', ${String(TABLE_LOCK_MS)}, true)`.execute(transaction);
		},
		nowExpression: () => sql<number>`floor(extract(epoch from clock_timestamp()))::bigint`,
		nowMsExpression: () => sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`,
		listen: (options) =>
			notifies ? openListener(databaseListenUrl, options) : { listening: () => undefined, close: async () => {} },
		async backup() {
			const message =
				'backup copies a SQLite store. For PostgreSQL use pg_dump, for example: pg_dump --format=custom --file=gatehouse.dump "$DATABASE_URL"';
			throw Object.assign(new Error(message), { code: "SQLITE_ONLY" });
		},
	};
}

/** Classes because Kysely's are. */
class Dialect extends PostgresDialect {
	override createAdapter(): PostgresAdapter {
		return new Adapter();
	}
}

/**
 * Kysely would lock for the session: behind PgBouncer that is another client's the next moment, and the lock would stay.
 * `lockMigrations` has locked for the transaction.
 */
class Adapter extends PostgresAdapter {
	override async acquireMigrationLock(): Promise<void> {}
	override async releaseMigrationLock(): Promise<void> {}
}

function createPool(databaseUrl: string, patienceMs: number): pg.Pool {
	const pool = new pg.Pool({
		connectionString: databaseUrl,
		max: MAX_CONNECTIONS,
		keepAlive: true,
		connectionTimeoutMillis: CONNECT_MS,
		query_timeout: patienceMs,
		statement_timeout: patienceMs,
		idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
		types: {
			// Seconds and versions stay far below 2^53. For this pool only: pg.types would change it for everyone.
			getTypeParser: ((id: number, format?: "text" | "binary") =>
				id === INT8 ? Number : pg.types.getTypeParser(id, format)) as typeof pg.types.getTypeParser,
		},
	});
	// A connection can break while nobody waits for an answer: idle in the pool, or between two statements of a
	// transaction. Unheard, that 'error' event ends the process; the next statement reports it anyway.
	pool.on("error", () => {});
	pool.on("connect", (client) => client.on("error", () => {}));
	return pool;
}

/** The pool as Kysely uses it, with our errors, and without connections that failed once. */
function guard(pool: pg.Pool, notifies: boolean): PostgresPool {
	const notifier = createNotifier(pool);
	const onAnnounced = notifies ? notifier.notify : () => {};
	return {
		options: pool.options,
		async end() {
			await notifier.settled();
			await pool.end();
		},
		async connect() {
			try {
				return guardClient(await pool.connect(), onAnnounced);
			} catch (error) {
				throw unavailable(error);
			}
		},
	};
}

/**
 * After an outage the connection is unusable: the answer to a timed-out statement is still to come, or the server is
 * read-only now. So every further statement fails at once (a rollback too: the server does that when the connection
 * ends), and the pool gets it back only to destroy it.
 *
 * @param onAnnounced called after the commit of a transaction that has announced something.
 */
function guardClient(client: pg.PoolClient, onAnnounced: () => void): PostgresPoolClient {
	let outage: unknown;
	let announced = false;

	async function query<Row>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>> {
		if (outage) throw outage;
		try {
			const result = await client.query(text, [...parameters]);
			if (text.startsWith(announcement)) announced = true;
			if (announced && text === "commit") onAnnounced();
			return result as unknown as PostgresQueryResult<Row>;
		} catch (error) {
			const failure = postgresFailure(error);
			if (failure !== error) outage = failure;
			throw failure;
		}
	}

	return {
		query: query as PostgresPoolClient["query"],
		release: (destroy) => client.release(Boolean(destroy || outage)),
	};
}
