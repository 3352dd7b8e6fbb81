/** Accounts, what they may do, and the keys that sign. */
import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";
import type { Dialect } from "./dialect.ts";

export const up = async (db: Kysely<Schema>, { integer, strict, index }: Dialect): Promise<void> => {
	await strict(
		db.schema
			.createTable("users")
			.addColumn("id", "text", (column) => column.notNull().primaryKey())
			.addColumn("username", "text", (column) => column.notNull().unique())
			.addColumn("password_hash", "text", (column) => column.notNull())
			.addColumn("password_scheme", "text", (column) => column.notNull())
			.addColumn("password_changed_at", integer, (column) => column.notNull())
			.addColumn("disabled_at", integer)
			.addColumn("created_at", integer, (column) => column.notNull()),
	).execute();

	await strict(
		db.schema
			.createTable("deleted_users")
			.addColumn("id", "text", (column) => column.notNull().primaryKey())
			.addColumn("deleted_at", integer, (column) => column.notNull()),
	).execute();

	await strict(
		db.schema.createTable("roles").addColumn("name", "text", (column) => column.notNull().primaryKey()),
	).execute();

	await strict(
		db.schema
			.createTable("role_permissions")
			.addColumn("role", "text", (column) => column.notNull().references("roles.name"))
			.addColumn("permission", "text", (column) => column.notNull())
			.addPrimaryKeyConstraint("role_permissions_key", ["role", "permission"]),
	).execute();

	await strict(
		db.schema
			.createTable("user_roles")
			.addColumn("user_id", "text", (column) => column.notNull().references("users.id").onDelete("cascade"))
			.addColumn("role", "text", (column) => column.notNull().references("roles.name"))
			.addPrimaryKeyConstraint("user_roles_key", ["user_id", "role"]),
	).execute();

	await strict(
		db.schema
			.createTable("signing_keys")
			.addColumn("kid", "text", (column) => column.notNull().primaryKey())
			.addColumn("algorithm", "text", (column) => column.notNull())
			.addColumn("state", "text", (column) => column.notNull())
			.addColumn("private_key_sealed", "text", (column) => column.notNull())
			.addColumn("created_at", integer, (column) => column.notNull()),
	).execute();

	// Two replicas that start on an empty store both try to add the first key: one must lose.
	await index(db, "signing_keys_one_active on signing_keys (state) where state = 'active'", "unique");

	await strict(
		db.schema
			.createTable("changes")
			.addColumn("topic", "text", (column) => column.notNull().primaryKey())
			.addColumn("version", integer, (column) => column.notNull()),
	).execute();

	await db
		.insertInto("roles")
		.values([{ name: "admin" }, { name: "user" }])
		.execute();
	await db
		.insertInto("role_permissions")
		.values([
			{ role: "admin", permission: "users:read" },
			{ role: "admin", permission: "users:write" },
		])
		.execute();
	await db
		.insertInto("changes")
		.values([
			{ topic: "accounts", version: 0 },
			{ topic: "keys", version: 0 },
		])
		.execute();
};
