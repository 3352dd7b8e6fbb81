/** Roles, what each of them may do, and who has them. */
import { type ExpressionBuilder, type Kysely, sql, type Transaction } from "kysely";
import { errors } from "./errors.ts";
import type { Schema } from "./store/schema.ts";
import type { Store } from "./store/store.ts";

/** What an account may do: its roles and the union of their permissions, both sorted. */
export interface Grants {
	roles: readonly string[];
	permissions: readonly string[];
}

export type Permissions = ReturnType<typeof createPermissions>;

/** What an account may do, as two columns beside its row: lists in JSON, which `grantsOf` reads. */
export const grantColumns =
	({ kind }: Pick<Store, "kind">) =>
	(row: ExpressionBuilder<Schema, "users">) => {
		const aggregate = sql.raw(kind === "sqlite" ? "json_group_array" : "json_agg");
		const listOf = (column: string) => sql<string | null>`cast(${aggregate}(${sql.ref(column)}) as text)`.as("list");
		const own = row.selectFrom("user_roles").whereRef("user_roles.user_id", "=", "users.id");
		return [
			own.select(listOf("user_roles.role")).as("roles"),
			own
				.innerJoin("role_permissions", "role_permissions.role", "user_roles.role")
				.select(listOf("role_permissions.permission"))
				.as("permissions"),
		] as const;
	};

/** What an account may do, from these columns. */
export const grantsOf = ({ roles, permissions }: { roles: string | null; permissions: string | null }): Grants => ({
	roles: sorted(JSON.parse(roles ?? "[]")),
	permissions: sorted(JSON.parse(permissions ?? "[]")),
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
