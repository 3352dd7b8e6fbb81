/** Sessions, and what is refused before it expires. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict, index }: Dialect): Promise<void> => {
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
};
