/** How tables lose the rows that are over: in small steps, and without waiting for whoever is at one of them. */
import { type RawBuilder, sql } from "kysely";
import type { Schema } from "./schema.ts";
import type { Store } from "./store.ts";

/** Rows of one step: few enough that nobody waits for it. */
export const purgeStep = 500;

type Tools = Pick<Store, "db" | "kind" | "nowExpression">;

/** Where it is written when a row is due. */
interface Due<Table extends keyof Schema> {
	table: Table;
	/** The table's primary key. */
	key: keyof Schema[Table] & string;
	/** The column with the epoch second; an index is over it. */
	at: keyof Schema[Table] & string;
	/** How long ago that has to be. */
	ageSeconds?: number;
}

/**
 * Selects the keys of the rows whose time came by now, or `ageSeconds` ago: the first of them, up to `limit`.
 *
 * Rows that another replica's purge or a request is at are left for the next time (PostgreSQL; SQLite has one writer).
 * PostgreSQL's clock goes on within a statement, so it is read once, before: nothing else can be looked up in an index.
 */
export const selectDue = <Table extends keyof Schema & string>(
	{ kind, nowExpression }: Tools,
	{ table, key, at, ageSeconds = 0 }: Due<Table>,
	limit = purgeStep,
): RawBuilder<string> =>
	sql<string>`(select ${sql.ref(key)} from ${sql.table(table)}
		where ${sql.ref(at)} <= (select ${nowExpression()}) - ${sql.lit(ageSeconds)}
		order by ${sql.ref(at)} limit ${sql.lit(limit)}
		${kind === "postgres" ? sql`for update skip locked` : sql``})`;

/** Deletes up to 500 rows whose time came, as `selectDue` finds them, and answers how many. */
export async function deleteDue<Table extends keyof Schema & string>(store: Tools, due: Due<Table>): Promise<number> {
	const { numAffectedRows = 0n } =
		await sql`delete from ${sql.table(due.table)} where ${sql.ref(due.key)} in ${selectDue(store, due)}`.execute(
			store.db,
		);
	return Number(numAffectedRows);
}
