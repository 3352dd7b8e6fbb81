/** Roles, what each of them may do, and who has them. */
import type { Kysely, Transaction } from "kysely";
import { errors } from "./errors.ts";
import type { Schema } from "./store/schema.ts";
import type { Store } from "./store/store.ts";

/** What an account may do: its roles and the union of their permissions, both sorted. */
export interface Grants {
	roles: readonly string[];
	permissions: readonly string[];
}

export type Permissions = ReturnType<typeof createPermissions>;

/** What an account may do, from its roles and the permissions of each of them. */
export const grantsOf = (rows: readonly { role: string | null; permission: string | null }[]): Grants => ({
	roles: sorted(rows.flatMap(({ role }) => role ?? [])),
	permissions: sorted(rows.flatMap(({ permission }) => permission ?? [])),
});

/** Builds the service over the tables `roles`, `role_permissions` and `user_roles`. */
export function createPermissions({ store }: { store: Store }) {
	return {
		/** The roles of every account, by account id. */
		async rolesOfAll(): Promise<Map<string, string[]>> {
			const rows = await store.db.selectFrom("user_roles").select(["user_id", "role"]).orderBy("role").execute();
			const all = new Map<string, string[]>();
			for (const { user_id, role } of rows) all.set(user_id, [...(all.get(user_id) ?? []), role]);
			return all;
		},

		/**
		 * Gives an account exactly these roles, inside the caller's transaction.
		 *
		 * @throws UNKNOWN_ROLE
		 */
		async assign(transaction: Transaction<Schema>, userId: string, roles: readonly string[]): Promise<void> {
			const wanted = sorted(roles);
			const known = await namesOf(transaction, wanted);
			const unknown = wanted.find((role) => !known.includes(role));
			if (unknown !== undefined) throw new errors.UNKNOWN_ROLE();
			await transaction.deleteFrom("user_roles").where("user_id", "=", userId).execute();
			if (wanted.length > 0)
				await transaction
					.insertInto("user_roles")
					.values(wanted.map((role) => ({ user_id: userId, role })))
					.execute();
		},
	};
}

async function namesOf(db: Kysely<Schema>, names: readonly string[]): Promise<string[]> {
	if (names.length === 0) return [];
	const rows = await db.selectFrom("roles").select("name").where("name", "in", names).execute();
	return rows.map(({ name }) => name);
}

const sorted = (names: readonly string[]): string[] => [...new Set(names)].sort();
