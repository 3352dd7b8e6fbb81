/** The words in which the two databases differ, for the migrations. */
import { type CreateTableBuilder, type Kysely, sql } from "kysely";
import type { Schema } from "../schema.ts";

/** Which database it is: the two differ in the words for a 64-bit integer and for strict typing. */
export type StoreKind = "sqlite" | "postgres";

export type Dialect = ReturnType<typeof createDialect>;

export function createDialect(kind: StoreKind) {
	/** Whole epoch seconds and versions. PostgreSQL's `integer` would end in 2038. */
	const integer: "integer" | "bigint" = kind === "sqlite" ? "integer" : "bigint";

	/** SQLite stores a text in an integer column without a word, unless the table is STRICT. */
	const strict = <T extends string, C extends string>(table: CreateTableBuilder<T, C>) =>
		kind === "sqlite" ? table.modifyEnd(sql`strict`) : table;

	const index = (db: Kysely<Schema>, text: string, unique = "") =>
		sql.raw(`create ${unique} index ${text}`).execute(db);

	return { kind, integer, strict, index };
}
