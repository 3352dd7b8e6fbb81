/**
 * Brings the tables up to date: in one transaction, so that a process which dies in the middle leaves nothing half done, and
 * under a lock that ends with that transaction, so that of several processes one does the work, also behind PgBouncer.
 *
 * A store may be newer than the program: a migration takes nothing away that the version before needs, so that goes on, and
 * may start again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Kysely } from "kysely";
import { Migrator } from "kysely/migration";
import { untilAdmitted } from "./admission.ts";
import type { Backend } from "./backend.ts";
import { isDenied, isLockTimeout, storeRefusal } from "./failures.ts";
import { createMigrations } from "./migrations.ts";
import type { Schema } from "./schema.ts";

/** A migration may rewrite a large table, or wait for another process that does. */
const patienceMs = 60_000;
/** Between two attempts to get the lock of a table that is in use: others have it nearly all of the time. */
const pauseMs = () => 1000 + Math.random() * 1000;
/** What a person types, here and in the image. */
const command = "npm run cli -- migrate (in the image: gatehouse migrate)";

/**
 * Applies what is missing, each migration once, whoever else starts; answers the names. On connections of its own, because
 * those of the store give up after two seconds.
 *
 * @throws with the code STORE_ROLE where the role may not, and a message for the person who starts it.
 */
export async function migrate(backend: Backend): Promise<string[]> {
	const db = new Kysely<Schema>({ dialect: backend.dialect(patienceMs) });
	try {
		return await explained(async () => {
			const missing = await untilAdmitted(() => findMissing(db, backend));
			return missing.length === 0 ? [] : await apply(db, backend);
		});
	} finally {
		await db.destroy();
	}
}

/**
 * Lets a store pass that has every migration this program knows, and maybe more.
 *
 * @throws with the code STORE_OUTDATED, or STORE_ROLE where the role may not even look.
 */
export async function requireMigrated(db: Kysely<Schema>, backend: Backend): Promise<void> {
	const missing = await explained(() => findMissing(db, backend));
	if (missing.length > 0)
		throw storeRefusal(
			"STORE_OUTDATED",
			`The store's tables are older than this program, and MIGRATE=off: ${missing.join(", ")} is missing. Run ${command} with a role that may change tables, then start again.`,
		);
}

/** Tries again while somebody is at a table, until `patienceMs` have passed: see `Backend.lockMigrations`. */
async function apply(db: Kysely<Schema>, backend: Backend): Promise<string[]> {
	const deadline = performance.now() + patienceMs;
	for (;;) {
		try {
			return await db.transaction().execute(async (transaction) => {
				await backend.lockMigrations(transaction, patienceMs);
				// Somebody else may have done it meanwhile, even a later version, whose migrations Kysely would not know.
				if ((await findMissing(transaction, backend)).length === 0) return [];
				// Kysely makes it too, but where that fails it looks again, which in a transaction hides why.
				await transaction.schema
					.createTable("kysely_migration")
					.ifNotExists()
					.addColumn("name", "varchar(255)", (column) => column.notNull().primaryKey())
					.addColumn("timestamp", "varchar(255)", (column) => column.notNull())
					.execute();
				const { error, results } = await (await createMigrator(transaction, backend)).migrateToLatest();
				if (error) throw error;
				return (results ?? []).map(({ migrationName }) => migrationName);
			});
		} catch (error) {
			if (!isLockTimeout(error) || performance.now() >= deadline) throw error;
			await sleep(pauseMs());
		}
	}
}

/** The migrations of this program that the store does not have. */
async function findMissing(db: Kysely<Schema>, backend: Backend): Promise<string[]> {
	const all = await (await createMigrator(db, backend)).getMigrations();
	return all.filter(({ executedAt }) => executedAt === undefined).map(({ name }) => name);
}

/** Where the tables' schema were not named, Kysely would take the list of another program in another schema for ours. */
async function createMigrator(db: Kysely<Schema>, backend: Backend): Promise<Migrator> {
	const schema = await backend.findSchema(db);
	return new Migrator({
		db,
		provider: { getMigrations: async () => createMigrations(backend.kind) },
		...(schema === undefined ? {} : { migrationTableSchema: schema }),
	});
}

/** A role without the rights is a matter of the deployment, not a fault. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
	try {
		return await work();
	} catch (error) {
		if (!isDenied(error)) throw error;
		throw storeRefusal(
			"STORE_ROLE",
			`This role may not bring the store's tables up to date (${(error as Error).message}). Run ${command} with the role that owns them, and set MIGRATE=off where the service runs without that right.`,
			error,
		);
	}
}
