/** How accounts are read one at a time, with all that a token says of them: statements of the hot path. */
import { type Grants, grantsOf } from "../permissions.ts";
import { type Session, type Sessions, sessionColumns } from "../sessions/sessions.ts";
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
	/** An account, once for each permission of each of its roles: every refresh asks for it. */
	const findRows = store.prepare((slot: Slot<{ id: string }>) =>
		store.db
			.selectFrom("users")
			.leftJoin("user_roles", "user_roles.user_id", "users.id")
			.leftJoin("role_permissions", "role_permissions.role", "user_roles.role")
			.select(["users.id", "users.username", "users.disabled_at", "users.created_at"])
			.select(["user_roles.role", "role_permissions.permission"])
			.where("users.id", "=", slot("id")),
	);

	/** The same beside a session of it, in one question to the store: what a refresh asks for. */
	const findRowsBySession = store.prepare((slot: Slot<{ sessionId: string }>) =>
		store.db
			.selectFrom("sessions")
			.innerJoin("users", "users.id", "sessions.user_id")
			.leftJoin("user_roles", "user_roles.user_id", "users.id")
			.leftJoin("role_permissions", "role_permissions.role", "user_roles.role")
			.select([...sessionColumns, store.nowExpression().as("now")])
			.select([
				"users.username",
				"users.disabled_at",
				"users.created_at",
				"user_roles.role",
				"role_permissions.permission",
			])
			.where("sessions.id", "=", slot("sessionId")),
	);

	async function find(id: string): Promise<User | undefined> {
		const rows = await findRows({ id });
		const [row] = rows;
		return row && { ...accountOf(row), ...grantsOf(rows) };
	}

	/** A live session, the account that it belongs to and what that may do, and the store's time. */
	async function findBySession(sessionId: string): Promise<{ session: Session; user: User; now: number } | undefined> {
		const rows = await findRowsBySession({ sessionId });
		const [row] = rows;
		if (!row) return undefined;
		const { username, disabled_at, created_at, role: _, permission: __, now, ...session } = row;
		if (!sessions.isLive(session, now)) return undefined;
		const user = { ...accountOf({ id: session.userId, username, disabled_at, created_at }), ...grantsOf(rows) };
		return { session, user, now };
	}

	return { find, findBySession };
}

/** An account without what it may do, from its row. */
export const accountOf = (row: { id: string; username: string; disabled_at: number | null; created_at: number }) => ({
	id: row.id,
	username: row.username,
	disabled: row.disabled_at !== null,
	createdAt: row.created_at,
});
