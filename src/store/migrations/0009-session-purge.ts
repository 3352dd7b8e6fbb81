/** A refresh moves no column that an index is over. What the version before begins is looked at soon, and put off then. */
import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, index, kind }: Dialect): Promise<void> => {
	await db.schema
		.alterTable("sessions")
		.addColumn("purge_at", integer, (column) => column.notNull().defaultTo(0))
		.execute();
	await index(db, "sessions_by_purge on sessions (purge_at)");
	await db.schema.dropIndex("sessions_by_end").execute();
	// Then PostgreSQL writes the row again on its own page, if that has room, and leaves all indexes alone (HOT).
	if (kind === "postgres") await sql`alter table sessions set (fillfactor = 80)`.execute(db);
};
