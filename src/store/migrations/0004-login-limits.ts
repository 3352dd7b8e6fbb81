/** Tries to log in, and what makes a known device unknown. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict, index }: Dialect): Promise<void> => {
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
};
