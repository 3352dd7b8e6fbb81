/**
 * Every change of the tables, oldest first. A migration that was released is never edited: a new one is added, with
 * a name that sorts after it. No CHECK on states and kinds: SQLite cannot alter one without rebuilding the table.
 */
import { type CreateTableBuilder, type Kysely, sql } from "kysely";
import type { Migration } from "kysely/migration";
import type { Schema } from "./schema.ts";

/** Which database it is: the two differ in the words for a 64-bit integer and for strict typing. */
export type StoreKind = "sqlite" | "postgres";

/** The migrations for one kind of database, by name, in the order of their names. */
export function createMigrations(kind: StoreKind): Record<string, Migration> {
	/** Whole epoch seconds and versions. PostgreSQL's `integer` would end in 2038. */
	const integer = kind === "sqlite" ? "integer" : "bigint";

	/** SQLite stores a text in an integer column without a word, unless the table is STRICT. */
	const strict = <T extends string, C extends string>(table: CreateTableBuilder<T, C>) =>
		kind === "sqlite" ? table.modifyEnd(sql`strict`) : table;

	const index = (db: Kysely<Schema>, text: string, kind = "") => sql.raw(`create ${kind} index ${text}`).execute(db);

	return {
		"0001-accounts-and-keys": {
			async up(db: Kysely<Schema>) {
				await strict(
					db.schema
						.createTable("users")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("username", "text", (column) => column.notNull().unique())
						.addColumn("password_hash", "text", (column) => column.notNull())
						.addColumn("password_scheme", "text", (column) => column.notNull())
						.addColumn("password_changed_at", integer, (column) => column.notNull())
						.addColumn("disabled_at", integer)
						.addColumn("created_at", integer, (column) => column.notNull()),
				).execute();

				await strict(
					db.schema
						.createTable("deleted_users")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("deleted_at", integer, (column) => column.notNull()),
				).execute();

				await strict(
					db.schema.createTable("roles").addColumn("name", "text", (column) => column.notNull().primaryKey()),
				).execute();

				await strict(
					db.schema
						.createTable("role_permissions")
						.addColumn("role", "text", (column) => column.notNull().references("roles.name"))
						.addColumn("permission", "text", (column) => column.notNull())
						.addPrimaryKeyConstraint("role_permissions_key", ["role", "permission"]),
				).execute();

				await strict(
					db.schema
						.createTable("user_roles")
						.addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
						.addColumn("role", "text", (column) => column.notNull().references("roles.name"))
						.addPrimaryKeyConstraint("user_roles_key", ["user_id", "role"]),
				).execute();

				await strict(
					db.schema
						.createTable("signing_keys")
						.addColumn("kid", "text", (column) => column.notNull().primaryKey())
						.addColumn("algorithm", "text", (column) => column.notNull())
						.addColumn("state", "text", (column) => column.notNull())
						.addColumn("private_key_sealed", "text", (column) => column.notNull())
						.addColumn("created_at", integer, (column) => column.notNull()),
				).execute();

				// Two replicas that start on an empty store both try to add the first key: one must lose.
				await index(db, "signing_keys_one_active on signing_keys (state) where state = 'active'", "unique");

				await strict(
					db.schema
						.createTable("changes")
						.addColumn("topic", "text", (column) => column.notNull().primaryKey())
						.addColumn("version", integer, (column) => column.notNull()),
				).execute();

				await db
					.insertInto("roles")
					.values([{ name: "admin" }, { name: "user" }])
					.execute();
				await db
					.insertInto("role_permissions")
					.values([
						{ role: "admin", permission: "users:read" },
						{ role: "admin", permission: "users:write" },
					])
					.execute();
				await db
					.insertInto("changes")
					.values([
						{ topic: "accounts", version: 0 },
						{ topic: "keys", version: 0 },
					])
					.execute();
			},
		},

		"0002-sessions-and-revocations": {
			async up(db: Kysely<Schema>) {
				await strict(
					db.schema
						.createTable("sessions")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
						.addColumn("generation", integer, (column) => column.notNull())
						.addColumn("user_agent", "text")
						.addColumn("address", "text", (column) => column.notNull())
						.addColumn("created_at", integer, (column) => column.notNull())
						.addColumn("authenticated_at", integer, (column) => column.notNull())
						.addColumn("refreshed_at", integer, (column) => column.notNull())
						.addColumn("expires_at", integer, (column) => column.notNull())
						.addColumn("absolute_expires_at", integer, (column) => column.notNull())
						.addColumn("access_until", integer, (column) => column.notNull()),
				).execute();
				await index(db, "sessions_by_user on sessions (user_id)");
				await index(db, "sessions_by_end on sessions (expires_at)");

				await strict(
					db.schema
						.createTable("revocations")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("ends_at", integer, (column) => column.notNull())
						.addColumn("seq", integer, (column) => column.notNull()),
				).execute();
				await index(db, "revocations_by_seq on revocations (seq, id)");
				await index(db, "revocations_by_end on revocations (ends_at)");

				await db.insertInto("changes").values({ topic: "revocations", version: 0 }).execute();
				await db.insertInto("role_permissions").values({ role: "admin", permission: "tokens:introspect" }).execute();
			},
		},

		"0003-key-rotation": {
			async up(db: Kysely<Schema>) {
				// SQLite adds one column a statement.
				for (const name of ["signs_at", "token_seconds"])
					await db.schema
						.alterTable("signing_keys")
						.addColumn(name, integer, (column) => column.notNull().defaultTo(0))
						.execute();
				await db.schema.alterTable("signing_keys").addColumn("ends_at", integer).execute();
				// Of the keys that are there nobody knows how long their tokens live: no token lives longer than a day.
				const day = 86_400;
				await db
					.updateTable("signing_keys")
					.set(({ ref }) => ({ signs_at: ref("created_at"), token_seconds: day }))
					.execute();
				const now =
					kind === "sqlite" ? sql<number>`unixepoch()` : sql<number>`floor(extract(epoch from now()))::bigint`;
				await db
					.updateTable("signing_keys")
					.set({ ends_at: sql<number>`${now} + ${sql.lit(day)}` })
					.where("state", "=", "retiring")
					.execute();
			},
		},

		"0004-login-limits": {
			async up(db: Kysely<Schema>) {
				await db.schema
					.alterTable("users")
					.addColumn("device_generation", integer, (column) => column.notNull().defaultTo(0))
					.execute();
				await strict(
					db.schema
						.createTable("login_tries")
						.addColumn("bucket", "text", (column) => column.notNull().primaryKey())
						.addColumn("forgotten_at", integer, (column) => column.notNull())
						.addColumn("retry_at", integer, (column) => column.notNull())
						.addColumn("marks", integer, (column) => column.notNull()),
				).execute();
				await index(db, "login_tries_by_end on login_tries (forgotten_at)");
			},
		},

		"0005-replicas": {
			async up(db: Kysely<Schema>) {
				await db.schema.alterTable("changes").addColumn("announced_ms", integer).execute();
				await strict(
					db.schema
						.createTable("replicas")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("seen_at", integer, (column) => column.notNull())
						.addColumn("since_at", integer, (column) => column.notNull())
						.addColumn("kids", "text", (column) => column.notNull()),
				).execute();
			},
		},

		"0006-housekeeping": {
			async up(db: Kysely<Schema>) {
				await strict(
					db.schema
						.createTable("chores")
						.addColumn("name", "text", (column) => column.notNull().primaryKey())
						.addColumn("next_at", integer, (column) => column.notNull()),
				).execute();
				await strict(
					db.schema
						.createTable("cutoffs")
						.addColumn("name", "text", (column) => column.notNull().primaryKey())
						.addColumn("at", integer, (column) => column.notNull()),
				).execute();
			},
		},

		"0007-security-events": {
			async up(db: Kysely<Schema>) {
				await strict(
					db.schema
						.createTable("security_events")
						.addColumn("id", "text", (column) => column.notNull().primaryKey())
						.addColumn("at", integer, (column) => column.notNull())
						.addColumn("event", "text", (column) => column.notNull())
						.addColumn("outcome", "text", (column) => column.notNull())
						// No reference: what was done to an account is told after it is gone.
						.addColumn("user_id", "text")
						.addColumn("session_id", "text")
						.addColumn("address", "text")
						.addColumn("request_id", "text")
						.addColumn("details", "text", (column) => column.notNull()),
				).execute();
				await index(db, "security_events_by_time on security_events (at, id)");
				await index(db, "security_events_by_user on security_events (user_id, at, id)");
			},
		},

		// What each start and each change of an account asks: it must not look at every account there is.
		"0008-accounts-by-state": {
			async up(db: Kysely<Schema>) {
				await index(db, "users_by_disabling on users (disabled_at) where disabled_at is not null");
				await index(db, "deleted_users_by_time on deleted_users (deleted_at)");
				await index(db, "user_roles_by_role on user_roles (role)");
			},
		},

		// A refresh moves no column that an index is over. What the version before begins is looked at soon, and put off then.
		"0009-session-purge": {
			async up(db: Kysely<Schema>) {
				await db.schema
					.alterTable("sessions")
					.addColumn("purge_at", integer, (column) => column.notNull().defaultTo(0))
					.execute();
				await index(db, "sessions_by_purge on sessions (purge_at)");
				await db.schema.dropIndex("sessions_by_end").execute();
				// Then PostgreSQL writes the row again on its own page, if that has room, and leaves all indexes alone (HOT).
				if (kind === "postgres") await sql`alter table sessions set (fillfactor = 80)`.execute(db);
			},
		},
	};
}
