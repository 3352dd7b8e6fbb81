/** Accounts: who exists, under which name, and whether the account is disabled. */
import type { Transaction } from "kysely";
import type { Clock } from "../clock.ts";
import { errors } from "../errors.ts";
import type { StoredPassword } from "../passwords/passwords.ts";
import type { Permissions } from "../permissions.ts";
import type { Principal } from "../principal.ts";
import { randomId } from "../random.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Schema } from "../store/schema.ts";
import { isUniqueViolation, type Store } from "../store/store.ts";
import { accountOf, createLookups, type User } from "./lookups.ts";
import { createStoredPasswords } from "./stored-passwords.ts";
import { canonicalUsername } from "./usernames.ts";

export type { User } from "./lookups.ts";

export type Users = ReturnType<typeof createUsers>;

/** Builds the service over the tables `users` and `deleted_users`. */
export function createUsers({
	store,
	clock,
	permissions,
	sessions,
	onPasswordReplaced,
}: {
	store: Store;
	clock: Clock;
	permissions: Permissions;
	sessions: Sessions;
	/** Called with the username after a password was replaced or its account deleted. */
	onPasswordReplaced: (username: string) => void;
}) {
	const columns = ["id", "username", "disabled_at", "created_at"] as const;

	const { find, findBySession } = createLookups({ store, sessions });

	/** Changes that could lock everybody out, or that end tokens: one at a time, told to all processes. */
	async function guarded(
		transaction: Transaction<Schema>,
		change: (transaction: Transaction<Schema>) => Promise<void>,
	): Promise<void> {
		await store.announce(transaction, "accounts");
		const before = await countAdministrators(transaction);
		await change(transaction);
		if (before > 0 && (await countAdministrators(transaction)) === 0) throw new errors.LAST_ADMINISTRATOR();
	}

	return {
		...createStoredPasswords({ store, clock, sessions, onPasswordReplaced }),

		/** The account with this id and what it may do. */
		find,

		/** A live session and the account that it belongs to. */
		findBySession,

		/** The username of an account. */
		async findName(id: string): Promise<string | undefined> {
			const row = await store.db.selectFrom("users").select("username").where("id", "=", id).executeTakeFirst();
			return row?.username;
		},

		/**
		 * The account with this name.
		 *
		 * @throws INVALID_USERNAME, USER_NOT_FOUND
		 */
		async getByName(username: string): Promise<User> {
			const row = await store.db
				.selectFrom("users")
				.select("id")
				.where("username", "=", canonicalUsername(username))
				.executeTakeFirst();
			const user = row && (await find(row.id));
			if (!user) throw new errors.USER_NOT_FOUND();
			return user;
		},

		/** Every account, by name. */
		async list(): Promise<Omit<User, "permissions">[]> {
			const rows = await store.db.selectFrom("users").select(columns).orderBy("username").execute();
			const roles = await permissions.rolesOfAll();
			return rows.map((row) => ({ ...accountOf(row.id, row), roles: roles.get(row.id) ?? [] }));
		},

		/** Whether there is no account yet. */
		async isEmpty(): Promise<boolean> {
			return !(await store.db.selectFrom("users").select("id").limit(1).executeTakeFirst());
		},

		/**
		 * Makes an account and answers its id.
		 *
		 * @throws INVALID_USERNAME, USERNAME_TAKEN, UNKNOWN_ROLE
		 */
		async add(username: string, password: StoredPassword, roles: readonly string[]): Promise<string> {
			const id = randomId();
			const now = clock.now();
			try {
				await store.transaction(async (transaction) => {
					await transaction
						.insertInto("users")
						.values({
							id,
							username: canonicalUsername(username),
							password_hash: password.hash,
							password_scheme: password.scheme,
							password_changed_at: now,
							disabled_at: null,
							created_at: now,
						})
						.execute();
					await permissions.assign(transaction, id, roles);
				});
			} catch (error) {
				if (isUniqueViolation(error)) throw new errors.USERNAME_TAKEN({ cause: error });
				throw error;
			}
			return id;
		},

		/**
		 * Ends every session of an account and makes its devices unknown: their tokens give no allowance any more.
		 *
		 * @param shown a token of one of them, which is refused from now on whether or not its session was still there.
		 */
		async logoutEverywhere(id: string, shown?: Principal): Promise<void> {
			await sessions.endAll(id, {
				...(shown && { shown }),
				alongWith: async (transaction) => {
					await transaction
						.updateTable("users")
						.set((row) => ({ device_generation: row("device_generation", "+", 1) }))
						.where("id", "=", id)
						.execute();
					return true;
				},
			});
		},

		/**
		 * Disables or enables an account. Disabling ends its sessions; every process refuses its live tokens within a second.
		 *
		 * @throws LAST_ADMINISTRATOR
		 */
		async setDisabled(id: string, disabled: boolean): Promise<void> {
			const at = disabled ? await store.now() : null;
			const change = (transaction: Transaction<Schema>) =>
				guarded(transaction, async () => {
					await transaction
						.updateTable("users")
						.set({ disabled_at: at })
						.where("id", "=", id)
						.where("disabled_at", disabled ? "is" : "is not", null)
						.execute();
				});
			if (!disabled) return store.transaction(change);
			await sessions.endAll(id, { alongWith: (transaction) => change(transaction).then(() => true) });
		},

		/**
		 * Gives an account exactly these roles; they hold from its next token on.
		 *
		 * @throws UNKNOWN_ROLE, LAST_ADMINISTRATOR
		 */
		async setRoles(id: string, roles: readonly string[]): Promise<void> {
			await store.transaction((transaction) => guarded(transaction, () => permissions.assign(transaction, id, roles)));
		},

		/**
		 * Deletes an account and its sessions. Its id is kept, so that its live tokens are refused and nobody gets it again.
		 *
		 * @throws LAST_ADMINISTRATOR
		 */
		async delete({ id, username }: User): Promise<void> {
			const at = await store.now();
			await store.transaction((transaction) =>
				guarded(transaction, async () => {
					const result = await transaction.deleteFrom("users").where("id", "=", id).executeTakeFirst();
					if (result.numDeletedRows === 0n) return;
					await transaction.insertInto("deleted_users").values({ id, deleted_at: at }).execute();
				}),
			);
			onPasswordReplaced(username);
		},
	};
}

async function countAdministrators(transaction: Transaction<Schema>): Promise<number> {
	const { count } = await transaction
		.selectFrom("users")
		.innerJoin("user_roles", "user_roles.user_id", "users.id")
		.where("user_roles.role", "=", "admin")
		.where("users.disabled_at", "is", null)
		.select(({ fn }) => fn.countAll().as("count"))
		.executeTakeFirstOrThrow();
	return Number(count);
}
