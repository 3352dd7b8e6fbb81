/** When a key signs, and when the last of its tokens ends. */
import { type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, kind }: Dialect): Promise<void> => {
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
	const now = kind === "sqlite" ? sql<number>`unixepoch()` : sql<number>`floor(extract(epoch from now()))::bigint`;
	await db
		.updateTable("signing_keys")
		.set({ ends_at: sql<number>`${now} + ${sql.lit(day)}` })
		.where("state", "=", "retiring")
		.execute();
};
