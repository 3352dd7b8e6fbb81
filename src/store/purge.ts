/** How tables lose the rows that are over: in small steps, and without waiting for whoever is at one of them. */
import { sql } from "kysely";
import type { Schema } from "./schema.ts";
import type { Store } from "./store.ts";

/** Rows of one step. */
const step = 500;

/**
 * Deletes up to 500 rows that ended by now, or `ageSeconds` ago, and answers how many.
 *
 * Rows that another replica's purge or a request is at are left for the next time (PostgreSQL; SQLite has one writer).
 *
 * @param key the table's primary key.
 * @param end the column with the epoch second.
 */
export async function deleteOver<Table extends keyof Schema & string>(
	{ db, kind, nowExpression }: Pick<Store, "db" | "kind" | "nowExpression">,
	{
		table,
		key,
		end,
		ageSeconds = 0,
	}: {
		table: Table;
		key: keyof Schema[Table] & string;
		end: keyof Schema[Table] & string;
		ageSeconds?: number;
	},
): Promise<number> {
	const over = sql`select ${sql.ref(key)} from ${sql.table(table)}
		where ${sql.ref(end)} <= ${nowExpression()} - ${sql.lit(ageSeconds)} limit ${sql.lit(step)}
		${kind === "postgres" ? sql`for update skip locked` : sql``}`;
	const { numAffectedRows = 0n } =
		await sql`delete from ${sql.table(table)} where ${sql.ref(key)} in (${over})`.execute(db);
	return Number(numAffectedRows);
}
