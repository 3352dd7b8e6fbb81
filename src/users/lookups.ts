/** How accounts are read one at a time, with all that a token says of them: statements of the hot path. */
import { sql } from "kysely";
import { type Grants, grantColumns, grantsOf } from "../permissions.ts";
import { isRowOf, placeOf } from "../sessions/place.ts";
import { type Session, sessionColumns, sessionOf } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { createBatches } from "../store/batches.ts";
import type { Slot, Store } from "../store/store.ts";

/** An account as its owner and administrators may see it. */
export interface User extends Grants {
	/** 128 random bits, never reused: the `sub` of its tokens. */
	id: string;
	/** In canonical form. */
	username: string;
	disabled: boolean;
	/** Epoch seconds. */
	createdAt: number;
}

/** Builds the look-ups over the store. */
export function createLookups({ store, sessions }: { store: Store; sessions: Pick<Sessions, "isLive"> }) {
	const findRow = store.prepare((slot: Slot<{ id: string }>) =>
		store.db
			.selectFrom("users")
			.select(["users.id", "users.username", "users.disabled_at", "users.created_at"])
			.select(grantColumns(store))
			.where("users.id", "=", slot("id")),
	);

	const columns = [
		...[...sessionColumns, store.nowExpression().as("now")],
		...(["users.username", "users.disabled_at", "users.created_at"] as const),
	] as const;
	/** One answer for each id, in the order asked: the session beside its account. */
	const findSessionRows = store.kind === "sqlite" ? findOnSqlite() : findOnPostgres();

	function findOnSqlite() {
		const findEach = store.prepareEach((slot: Slot<{ id: string; place: number }>) =>
			store.db
				.selectFrom("sessions")
				.innerJoin("users", "users.id", "sessions.user_id")
				.select(columns)
				.select(grantColumns(store))
				.where(isRowOf({ id: slot("id"), place: slot("place") })),
		);
		return (ids: readonly string[]) => findEach(ids.map((id) => ({ id, place: placeOf(id) })));
	}

	function findOnPostgres() {
		const findRows = store.prepare((slot: Slot<{ ids: string }>) =>
			store.db
				.selectFrom(sql<{ key: string }>`json_each(${slot("ids")})`.as("asked"))
				.innerJoin("sessions", "sessions.id", "asked.key")
				.innerJoin("users", "users.id", "sessions.user_id")
				.select(columns)
				.select(grantColumns(store)),
		);
		return async (ids: readonly string[]) => {
			const rows = await findRows({ ids: JSON.stringify(Object.fromEntries(ids.map((id) => [id, 0]))) });
			const found = new Map(rows.map((row) => [row.id, row]));
			return ids.map((id) => found.get(id));
		};
	}

	async function find(id: string): Promise<User | undefined> {
		const [row] = await findRow({ id });
		return row && { ...accountOf(row.id, row), ...grantsOf(row) };
	}

	/**
	 * A live session, the account that it belongs to and what that may do, and the store's time: what a refresh asks for. Those
	 * that are asked for at the same time come in one answer.
	 */
	const findBySession = createBatches<string, { session: Session; user: User; now: number } | undefined>(async (ids) =>
		(await findSessionRows(ids)).map((row) => {
			if (!row || !sessions.isLive(row, row.now)) return undefined;
			const user = { ...accountOf(row.userId, row), ...grantsOf(row) };
			return { session: sessionOf(row), user, now: row.now };
		}),
	);

	return { find, findBySession };
}

/** An account without what it may do, from its row or from one beside which it stands. */
export const accountOf = (
	id: string,
	row: { username: string; disabled_at: number | null; created_at: number },
): Omit<User, keyof Grants> => ({
	id,
	username: row.username,
	disabled: row.disabled_at !== null,
	createdAt: row.created_at,
});
