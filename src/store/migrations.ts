/**
 * Every change of the tables, oldest first. A migration that was released is never edited: a new one is added, with
 * a name that sorts after it. No CHECK on states and kinds: SQLite cannot alter one without rebuilding the table.
 */
import type { Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import * as accountsAndKeys from "./migrations/0001-accounts-and-keys.ts";
import * as sessionsAndRevocations from "./migrations/0002-sessions-and-revocations.ts";
import * as keyRotation from "./migrations/0003-key-rotation.ts";
import * as loginLimits from "./migrations/0004-login-limits.ts";
import * as replicas from "./migrations/0005-replicas.ts";
import * as housekeeping from "./migrations/0006-housekeeping.ts";
import * as securityEvents from "./migrations/0007-security-events.ts";
import * as accountsByState from "./migrations/0008-accounts-by-state.ts";
import * as sessionPurge from "./migrations/0009-session-purge.ts";
import { createDialect, type StoreKind } from "./migrations/dialect.ts";
import type { Schema } from "./schema.ts";

export type { StoreKind };

/** The migrations for one kind of database, by name, in the order of their names. */
export function createMigrations(kind: StoreKind): Record<string, Migration> {
	const dialect = createDialect(kind);
	const all = {
		"0001-accounts-and-keys": accountsAndKeys,
		"0002-sessions-and-revocations": sessionsAndRevocations,
		"0003-key-rotation": keyRotation,
		"0004-login-limits": loginLimits,
		"0005-replicas": replicas,
		"0006-housekeeping": housekeeping,
		"0007-security-events": securityEvents,
		"0008-accounts-by-state": accountsByState,
		"0009-session-purge": sessionPurge,
	};
	return Object.fromEntries(
		Object.entries(all).map(([name, { up }]) => [name, { up: (db: Kysely<Schema>) => up(db, dialect) }]),
	);
}
