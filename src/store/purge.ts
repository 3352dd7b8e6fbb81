/** How tables lose the rows that are over: in small steps, and without waiting for whoever is at one of them. */
import { type RawBuilder, sql } from "kysely";
import type { Schema } from "./schema.ts";
import type { Store } from "./store.ts";

/** Rows of one step. */
export const purgeStep = 500;

type Tools = Pick<Store, "db" | "kind" | "nowExpression">;

/** Where it is written when a row is over. */
interface Over<Table extends keyof Schema> {
	table: Table;
	/** The table's primary key. */
	key: keyof Schema[Table] & string;
	/** The column with the epoch second; an index is over it. */
	end: keyof Schema[Table] & string;
	/** How long ago that has to be. */
	ageSeconds?: number;
}

/**
 * Selects the keys of the rows that ended by now, or `ageSeconds` ago: the first of them, up to `limit`.
 *
 * Rows that another replica's purge or a request is at are left for the next time (PostgreSQL; SQLite has one writer). Its
 * clock goes on within a statement, so it is read once, before: nothing else can be looked up in an index.
 */
export const selectOver = <Table extends keyof Schema & string>(
	{ kind, nowExpression }: Tools,
	{ table, key, end, ageSeconds = 0 }: Over<Table>,
	limit = purgeStep,
): RawBuilder<string> =>
	sql<string>`(select ${sql.ref(key)} from ${sql.table(table)}
		where ${sql.ref(end)} <= (select ${nowExpression()}) - ${sql.lit(ageSeconds)}
		order by ${sql.ref(end)} limit ${sql.lit(limit)}
		${kind === "postgres" ? sql`for update skip locked` : sql``})`;

/** Deletes up to 500 rows that are over, as `selectOver` finds them, and answers how many. */
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
