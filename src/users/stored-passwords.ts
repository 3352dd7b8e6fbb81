/** The stored passwords of accounts: found for a check, replaced without ever undoing what somebody else has just done. */
import type { Kysely } from "kysely";
import type { Clock } from "../clock.ts";
import type { StoredPassword } from "../passwords/passwords.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Schema } from "../store/schema.ts";
import type { Slot, Store } from "../store/store.ts";

/** What a password check needs to know of an account. */
export interface Credentials {
	id: string;
	username: string;
	disabled: boolean;
	/** How often its devices were made unknown. */
	deviceGeneration: number;
	password: StoredPassword;
}

/** Builds this half of the accounts, over the password columns of the table `users`. */
export function createStoredPasswords({
	store,
	clock,
	sessions,
	onPasswordReplaced,
}: {
	store: Store;
	clock: Clock;
	sessions: Sessions;
	/** Called with the username after a password was replaced. */
	onPasswordReplaced: (username: string) => void;
}) {
	const columns = ["id", "username", "disabled_at", "device_generation", "password_hash", "password_scheme"] as const;
	const findRowById = store.prepare((slot: Slot<{ id: string }>) =>
		store.db.selectFrom("users").select(columns).where("id", "=", slot("id")),
	);
	const findRowByUsername = store.prepare((slot: Slot<{ username: string }>) =>
		store.db.selectFrom("users").select(columns).where("username", "=", slot("username")),
	);

	return {
		/** What a password check needs, by canonical username or by id. */
		async findCredentials(by: { username: string } | { id: string }): Promise<Credentials | undefined> {
			const [row] = await ("id" in by ? findRowById(by) : findRowByUsername(by));
			return (
				row && {
					id: row.id,
					username: row.username,
					disabled: row.disabled_at !== null,
					deviceGeneration: row.device_generation,
					password: { hash: row.password_hash, scheme: row.password_scheme },
				}
			);
		},

		/**
		 * Stores another hash of the same password, if the one that the caller has seen is still there.
		 *
		 * @returns false where somebody else replaced it meanwhile; theirs stays.
		 */
		async upgradeHash(seen: Credentials, next: StoredPassword): Promise<boolean> {
			return storeHash(store.db, seen, next);
		},

		/**
		 * Stores another password, if the one that the caller has seen is still there, ends the account's sessions and makes
		 * its devices unknown.
		 *
		 * @param keepSessionId a session that goes on: the one that changed the password.
		 * @returns false where somebody else replaced it meanwhile; theirs stays, and so do the sessions.
		 */
		async replacePassword(seen: Credentials, next: StoredPassword, keepSessionId?: string): Promise<boolean> {
			let replaced = false;
			await sessions.endAll(seen.id, {
				...(keepSessionId === undefined ? {} : { except: keepSessionId }),
				alongWith: async (transaction) => {
					replaced = await storeHash(transaction, seen, next, clock.now());
					return replaced;
				},
			});
			if (replaced) onPasswordReplaced(seen.username);
			return replaced;
		},
	};
}

/** Stores a hash where the one that was seen is still there, and says whether it was. `changedAt`: of another password. */
async function storeHash(
	db: Kysely<Schema>,
	{ id, password: seen }: Credentials,
	next: StoredPassword,
	changedAt?: number,
): Promise<boolean> {
	const { numUpdatedRows } = await db
		.updateTable("users")
		.set({ password_hash: next.hash, password_scheme: next.scheme })
		.$if(changedAt !== undefined, (query) =>
			query.set((row) => ({
				password_changed_at: changedAt as number,
				device_generation: row("device_generation", "+", 1),
			})),
		)
		.where("id", "=", id)
		.where("password_hash", "=", seen.hash)
		.executeTakeFirst();
	return numUpdatedRows > 0n;
}
