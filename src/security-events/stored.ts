/** The table `security_events`: written many rows at a time, read in the order of time, deleted when they are too old. */
import { type Kysely, sql } from "kysely";
import { daySeconds } from "../clock.ts";
import { deleteDue } from "../store/purge.ts";
import type { Schema, SecurityEventsTable } from "../store/schema.ts";
import type { Store } from "../store/store.ts";

/** Rows that one statement reads. */
const page = 500;

/** An event as it is stored. */
export type StoredEvent = Readonly<SecurityEventsTable>;

const columns = ["id", "at", "event", "outcome", "user_id", "session_id", "address", "request_id", "details"] as const;

/** Builds what reads and writes the table. */
export function createStoredEvents({ store }: { store: Store }) {
	const rowsOf =
		store.kind === "sqlite"
			? (json: string) =>
					sql`select ${sql.join(columns.map((name) => sql`value ->> ${sql.lit(name)}`))} from json_each(${json})`
			: (json: string) =>
					sql`select * from jsonb_to_recordset(${json}::jsonb) as event(id text, at bigint, event text, outcome text,
						user_id text, session_id text, address text, request_id text, details text)`;

	return {
		/**
		 * Writes rows, all in one parameter: a statement with a parameter for each value would take longer to build than to
		 * run. A row that is there already, because the answer to an earlier attempt was lost, stays as it is.
		 */
		async insert(events: readonly StoredEvent[]): Promise<void> {
			const names = sql.join(columns.map((name) => sql.ref(name)));
			const rows = rowsOf(JSON.stringify(events));
			// SQLite takes "on" for a join's, unless a "where" stands before it.
			await sql`insert into security_events (${names}) select * from (${rows}) as given where true
				on conflict (id) do nothing`.execute(store.db);
		},

		/** The stored events, the oldest first, page by page. */
		async *list({ userId, since }: { userId?: string | undefined; since: number }): AsyncGenerator<StoredEvent[]> {
			let after = { at: since, id: "" };
			for (;;) {
				const rows = await listPage(store.db, userId, after);
				if (rows.length > 0) yield rows;
				if (rows.length < page) return;
				after = rows.at(-1) ?? after;
			}
		},

		/** Deletes up to 500 rows older than so many days; answers how many. */
		purge(days: number): Promise<number> {
			return deleteDue(store, { table: "security_events", key: "id", at: "at", ageSeconds: days * daySeconds });
		},
	};
}

const listPage = (db: Kysely<Schema>, userId: string | undefined, after: { at: number; id: string }) =>
	db
		.selectFrom("security_events")
		.select(columns)
		.where(({ eb, refTuple, tuple }) => eb(refTuple("at", "id"), ">", tuple(after.at, after.id)))
		.$if(userId !== undefined, (query) => query.where("user_id", "=", userId as string))
		.orderBy("at")
		.orderBy("id")
		.limit(page)
		.execute();
