/**
 * The connections to PostgreSQL. A database that hangs must cost a caller no more than a bounded time, so there is a limit on
 * waiting for a connection, on each statement at both ends, and on a transaction whose owner went silent.
 */
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import pg from "pg";
import { createHistogram, type Histogram } from "../metrics/histogram.ts";
import { type StoreStats, statementBounds } from "./backend.ts";
import { isReadOnly, isTooSoon, postgresFailure, unavailable } from "./failures.ts";
import { createNotifier } from "./notifications.ts";

const connectMs = 1000;
/** A frozen replica may hold a row of `changes` that every other replica waits for. */
const idleInTransactionMs = 5000;
/** Until `setSize` has asked the server how many it has for everybody. */
const connectionsAtFirst = 2;
const mostConnections = 10;
/** So long a server that had no place for one more is not asked for one. */
const fullServerMs = 5000;
/** So that three replicas, each with its listener and a command beside them, fit into what a server allows. */
const shareOfServer = 1 / 5;
/** PostgreSQL's type id of bigint. */
const int8 = 20;

/** How many connections the pools have together, on a server that allows so many in all. */
export const sizeFor = (serverConnections: number): number =>
	Math.max(connectionsAtFirst, Math.min(mostConnections, Math.floor(serverConnections * shareOfServer)));

/**
 * Builds pools. Nothing is connected yet.
 *
 * @param getServer where the database is; asked for each connection.
 * @param notifies whether the other replicas are told of what is announced.
 */
export function createPostgresPools(getServer: () => pg.ClientConfig, notifies: boolean) {
	let size = connectionsAtFirst;
	const pools: pg.Pool[] = [];
	let notifier: ReturnType<typeof createNotifier> | undefined;
	const statements = createHistogram(statementBounds);
	/** The pool of one connection, beside which the others have the rest. */
	let following: pg.Pool | undefined;
	/** Until then, by `performance.now()`, it is not asked for one: the server had no place. */
	let fullUntilMs = 0;
	const limitOf = (pool: pg.Pool) => (pool === following ? 1 : size - 1);
	/** Connections that were made in an earlier era are not used again. */
	let era = 0;
	const eras = new WeakMap<pg.PoolClient, number>();

	/** Another server may answer now: see `renew`. */
	const renew = () => {
		era++;
	};

	/** Where the server has no place for one more, callers wait for those that are there, as if there could be no more. */
	async function admitted(pool: pg.Pool): Promise<pg.PoolClient> {
		for (;;) {
			try {
				return await pool.connect();
			} catch (error) {
				if (!isTooSoon(error) || pool.totalCount === 0) throw error;
				pool.options.max = pool.totalCount;
				setTimeout(() => {
					pool.options.max = limitOf(pool);
				}, fullServerMs).unref();
			}
		}
	}

	async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
		for (;;) {
			const client = await admitted(pool);
			const born = eras.get(client) ?? era;
			eras.set(client, born);
			if (born === era) return client;
			client.release(true);
		}
	}

	/** What others have changed must be heard also where the server has no place for a connection of its own. */
	async function connectFollowing(own: pg.Pool): Promise<pg.PoolClient> {
		const [requests] = pools;
		if (!requests || performance.now() >= fullUntilMs)
			try {
				return await connect(own);
			} catch (error) {
				if (!requests || !isTooSoon(error)) throw error;
				fullUntilMs = performance.now() + fullServerMs;
			}
		return connect(requests);
	}

	return {
		/**
		 * A pool as Kysely uses it, with our errors, and without connections that failed once.
		 *
		 * @param purpose `following`: one connection that no request waits for; where the server has no place for it, those of
		 * the pool that was opened first. At most one pool is.
		 */
		open(patienceMs: number, purpose: "requests" | "following"): PostgresPool {
			const pool = createPool(getServer, patienceMs);
			const follows = purpose === "following";
			if (follows) following = pool;
			pool.options.max = limitOf(pool);
			pools.push(pool);
			if (notifies && !follows) notifier ??= createNotifier(pool);
			return {
				options: pool.options,
				async end() {
					await notifier?.settled();
					await pool.end();
				},
				async connect() {
					const askedMs = performance.now();
					try {
						const client = await (follows ? connectFollowing(pool) : connect(pool));
						// Who has waited for a connection has less patience left: both waits together keep to one bound.
						const leftMs = patienceMs - (performance.now() - askedMs);
						return guardClient(client, { patienceMs: leftMs, statements, onReadOnly: renew });
					} catch (error) {
						throw unavailable(error);
					}
				},
			};
		},

		/** See `Backend.notify`. */
		notify: (): void => notifier?.notify(),

		/** Uses no connection again that is open now: after a failover it may lead to a server that is not the one any more. */
		renew,

		/** See `Store.stats`. */
		stats(): StoreStats {
			const connections = { inUse: 0, idle: 0, waiting: 0 };
			for (const { totalCount, idleCount, waitingCount } of pools) {
				connections.inUse += totalCount - idleCount;
				connections.idle += idleCount;
				connections.waiting += waitingCount;
			}
			return { statements: statements.read(), connections };
		},

		/** Fits the pools to a server that allows so many connections in all. */
		setSize(serverConnections: number): void {
			size = sizeFor(serverConnections);
			for (const pool of pools) pool.options.max = limitOf(pool);
		},
	};
}

function createPool(getServer: () => pg.ClientConfig, patienceMs: number): pg.Pool {
	// A class because pg's is one, and makes its clients itself.
	class Client extends pg.Client {
		constructor(options?: pg.ClientConfig) {
			super({ ...options, ...getServer() });
		}
	}
	const pool = new pg.Pool({
		Client,
		keepAlive: true,
		connectionTimeoutMillis: connectMs,
		query_timeout: patienceMs,
		statement_timeout: patienceMs,
		idle_in_transaction_session_timeout: idleInTransactionMs,
		types: {
			// Seconds and versions stay far below 2^53. For this pool only: pg.types would change it for everyone.
			getTypeParser: ((id: number, format?: "text" | "binary") =>
				id === int8 ? Number : pg.types.getTypeParser(id, format)) as typeof pg.types.getTypeParser,
		},
	});
	// A connection can break while nobody waits for an answer: idle in the pool, or between two statements of a
	// transaction. Unheard, that 'error' event ends the process; the next statement reports it anyway.
	pool.on("error", () => {});
	pool.on("connect", (client) => client.on("error", () => {}));
	return pool;
}

/**
 * After an outage the connection is unusable: the answer to a timed-out statement is still to come, or the server is
 * read-only now. So every further statement fails at once (a rollback too: the server does that when the connection
 * ends), and the pool gets it back only to destroy it.
 *
 * @param on.patienceMs how long a statement may take.
 * @param on.statements where its time is noted.
 * @param on.onReadOnly called where the server takes no writes: after a failover that is the old one.
 */
function guardClient(
	client: pg.PoolClient,
	{ patienceMs, statements, onReadOnly }: { patienceMs: number; statements: Histogram; onReadOnly: () => void },
): PostgresPoolClient {
	let outage: unknown;

	async function query<Row>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>> {
		if (outage) throw outage;
		const startMs = performance.now();
		try {
			const statement: pg.QueryConfig & pg.ClientConfig = { text, values: [...parameters], query_timeout: patienceMs };
			const result = await client.query(statement);
			return result as unknown as PostgresQueryResult<Row>;
		} catch (error) {
			const failure = postgresFailure(error);
			if (failure !== error) outage = failure;
			if (isReadOnly(error)) onReadOnly();
			throw failure;
		} finally {
			statements.observe((performance.now() - startMs) / 1000);
		}
	}

	return {
		query: query as PostgresPoolClient["query"],
		release: (destroy) => client.release(Boolean(destroy || outage)),
	};
}
