/** What has happened, for those who ask later. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict, index }: Dialect): Promise<void> => {
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
};
