/** Who lives, and which keys they have loaded. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict }: Dialect): Promise<void> => {
	await db.schema.alterTable("changes").addColumn("announced_ms", integer).execute();
	await strict(
		db.schema
			.createTable("replicas")
			.addColumn("id", "text", (column) => column.notNull().primaryKey())
			.addColumn("seen_at", integer, (column) => column.notNull())
			.addColumn("since_at", integer, (column) => column.notNull())
			.addColumn("kids", "text", (column) => column.notNull()),
	).execute();
};
