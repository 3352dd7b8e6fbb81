/**
 * Where SQLite keeps the row of a session: its rowid is made of its id. So the row is found without a look into the index over
 * ids, of which SQLite's cache does not hold the page once there are many sessions. PostgreSQL knows no such place.
 *
 * Rows that the version before began are elsewhere, and so are those whose place was taken, or whose rowid has changed since
 * (`VACUUM` may change it, a dump does): those the index finds.
 */
import { sql } from "kysely";

/** The first 48 of the 128 random bits of an id; a place for any other text as well. */
export function placeOf(id: string): number {
	const bytes = Buffer.alloc(6);
	bytes.write(id, "base64url");
	return bytes.readUIntBE(0, 6);
}

/** Whether a row of the table `sessions` is the one with this id, looked for at its place first. */
export const isRowOf = ({ id, place }: { id: string; place: number }) =>
	sql<boolean>`sessions.rowid = coalesce(
		(select rowid from sessions as placed where placed.rowid = ${place} and placed.id = ${id}),
		(select rowid from sessions as elsewhere where elsewhere.id = ${id}))`;

/** The place for a new row where it is free, else NULL: then SQLite finds one. */
export const freePlace = (place: number) =>
	sql<number | null>`case when exists (select 1 from sessions where rowid = ${place}) then null else ${place} end`;
