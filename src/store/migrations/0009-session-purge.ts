/**
 * A refresh moves no column that an index is over. What is there, and what the version before begins, is looked at by the next
 * purges, 500 at a time, and put off.
 */
import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, index, kind }: Dialect): Promise<void> => {
	await db.schema
		.alterTable("sessions")
		.addColumn("purge_at", integer, (column) => column.notNull().defaultTo(0))
		.execute();
	await index(db, "sessions_by_purge on sessions (purge_at)");
	// Nobody needs it but the purge of the version before, which goes on without it.
	await db.schema.dropIndex("sessions_by_end").ifExists().execute();
	// PostgreSQL writes the row again on its own page where that has room, and then leaves all indexes alone (HOT).
	if (kind === "postgres") await sql`alter table sessions set (fillfactor = 80)`.execute(db);
};
