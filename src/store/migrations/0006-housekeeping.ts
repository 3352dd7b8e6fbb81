/** Which chore is due when, and what is too old to be accepted. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict }: Dialect): Promise<void> => {
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
};
