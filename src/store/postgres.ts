/** PostgreSQL as the store sees it: its words, its locks, and what a server has to be like. */
import { PostgresAdapter, PostgresDialect, sql } from "kysely";
import type { ClientConfig } from "pg";
import { parseIntoClientConfig } from "pg-connection-string";
import type { Backend } from "./backend.ts";
import { storeRefusal } from "./failures.ts";
import { openListener } from "./notifications.ts";
import { createPostgresPools } from "./postgres-pool.ts";

/** How long a migration may wait for a table that is in use, and everybody behind it. */
const tableLockMs = 100;
/** Kysely's own number, so that a version which lets Kysely lock waits too. */
const migrationLock = BigInt("3853314791062309107");

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
	const read = new Map<string, ClientConfig>();
	/**
	 * Where a URL leads. The certificates that it names are read for each connection, because they are renewed. One that cannot
	 * be read at that moment is taken as it was before: pg would throw where nobody can catch it, and end the process.
	 */
	const serverOf = (url: string): ClientConfig => {
		try {
			read.set(url, parseIntoClientConfig(url));
		} catch (error) {
			if (!read.has(url)) throw error;
		}
		return read.get(url) as ClientConfig;
	};
	const pools = createPostgresPools(() => serverOf(databaseUrl), notifies);
	return {
		kind: "postgres",
		setting: "DATABASE_URL",
		dialect: (patienceMs, purpose = "requests") => new Dialect({ pool: pools.open(patienceMs, purpose) }),
		async examine(db) {
			const { rows } = await sql<Examined>`select
				current_setting('max_connections')::int as connections,
				current_setting('statement_timeout') = '0' or current_setting('idle_in_transaction_session_timeout') = '0' as unlimited,
				current_setting('default_transaction_isolation') as isolation, current_user as role`.execute(db);
			const { connections, unlimited, isolation, role } = rows[0] as Examined;
			// What a connection asks for at its start PgBouncer drops: without a limit of the role's own a statement that we have
			// given up would wait for its lock for ever, and a frozen replica hold one for ever.
			if (unlimited)
				throw storeRefusal(
					"STORE_SETTINGS",
					`The role ${role} of DATABASE_URL has no time limits, and what lies in between, such as PgBouncer, does not pass ours on. Set them: alter role ${role} set statement_timeout = '2s'; alter role ${role} set idle_in_transaction_session_timeout = '5s'`,
				);
			// A stricter one fails a statement of which one row has just changed: refreshes of many people, because of one.
			if (!isolation.startsWith("read "))
				throw storeRefusal(
					"STORE_SETTINGS",
					`DATABASE_URL leads to transactions that are ${isolation}; Gatehouse is made for PostgreSQL's own default. Unless the URL's options say otherwise, set it: alter role ${role} set default_transaction_isolation = 'read committed'`,
				);
			pools.setSize(connections);
		},
		async findSchema(db) {
			const { rows } = await sql<{ schema: string | null }>`select current_schema() as schema`.execute(db);
			const schema = rows[0]?.schema;
			if (schema) return schema;
			throw storeRefusal(
				"STORE_ROLE",
				"DATABASE_URL leads to no schema that this role may use: create one, or set the role's search_path to it.",
			);
		},
		async lockMigrations(transaction, patienceMs) {
			// Behind PgBouncer the limits of this connection's start do not count.
			await sql`select set_config('statement_timeout', ${String(patienceMs)}, true)`.execute(transaction);
			await sql`select pg_advisory_xact_lock(${sql.lit(migrationLock)})`.execute(transaction);
			// Whoever waits for a table's lock keeps everybody waiting who comes later, logins too: better to try again.
			await sql`select set_config('lock_timeout', ${String(tableLockMs)}, true)`.execute(transaction);
		},
		nowExpression: () => sql<number>`floor(extract(epoch from clock_timestamp()))::bigint`,
		nowMsExpression: () => sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`,
		readOnlyExpression: () => sql<boolean>`current_setting('transaction_read_only') = 'on'`,
		serverExpression: () => sql<string>`pg_postmaster_start_time()::text`,
		renew: pools.renew,
		notify: pools.notify,
		stats: pools.stats,
		logBytes: () => undefined,
		listen: (options) =>
			notifies
				? openListener(() => serverOf(databaseListenUrl), options)
				: { listening: () => undefined, close: async () => {} },
		async backup() {
			throw storeRefusal(
				"SQLITE_ONLY",
				'backup copies a SQLite store. For PostgreSQL use pg_dump, for example: pg_dump --format=custom --file=gatehouse.dump "$DATABASE_URL"',
			);
		},
	};
}

/** What a server and a role are like. */
interface Examined {
	connections: number;
	unlimited: boolean;
	isolation: string;
	role: string;
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
