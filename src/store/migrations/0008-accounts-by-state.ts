/** What each start and each change of an account asks: it must not look at every account there is. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { index }: Dialect): Promise<void> => {
	await index(db, "users_by_disabling on users (disabled_at) where disabled_at is not null");
	await index(db, "deleted_users_by_time on deleted_users (deleted_at)");
	await index(db, "user_roles_by_role on user_roles (role)");
};
