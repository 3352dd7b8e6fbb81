/** How tables lose the rows that are over: in small steps, and without waiting for whoever is at one of them. */
import { type RawBuilder, sql } from "kysely";
import type { Schema } from "./schema.ts";
import type { Store } from "./store.ts";

/** Rows of one step. */
const step = 500;

type Tools = Pick<Store, "db" | "kind" | "nowExpression">;

/** Where it is written when a row is over. */
interface Over<Table extends keyof Schema> {
	table: Table;
	/** The table's primary key. */
	key: keyof Schema[Table] & string;
	/** The column with the epoch second. */
	end: keyof Schema[Table] & string;
	/** So long ago. */
	ageSeconds?: number;
}

/**
 * Selects the keys of up to 500 rows that ended by now, or `ageSeconds` ago.
 *
 * Rows that another replica's purge or a request is at are left for the next time (PostgreSQL; SQLite has one writer).
 */
export const selectOver = <Table extends keyof Schema & string>(
	{ kind, nowExpression }: Tools,
	{ table, key, end, ageSeconds = 0 }: Over<Table>,
): RawBuilder<string> =>
	sql<string>`(select ${sql.ref(key)} from ${sql.table(table)}
		where ${sql.ref(end)} <= ${nowExpression()} - ${sql.lit(ageSeconds)} limit ${sql.lit(step)}
		${kind === "postgres" ? sql`for update skip locked` : sql``})`;

/** Deletes those, and answers how many. */
export async function deleteOver<Table extends keyof Schema & string>(
	store: Tools,
	over: Over<Table>,
): Promise<number> {
	const { numAffectedRows = 0n } =
		await sql`delete from ${sql.table(over.table)} where ${sql.ref(over.key)} in ${selectOver(store, over)}`.execute(
			store.db,
		);
	return Number(numAffectedRows);
}
