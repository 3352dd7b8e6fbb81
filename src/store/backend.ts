/** What SQLite and PostgreSQL each bring; `store.ts` makes a Store of either. */
import { join } from "node:path";
import type { Dialect, RawBuilder } from "kysely";
import type { StoreKind } from "./migrations.ts";

/** The file of a SQLite store. */
export const sqliteFile = (dataDir: string): string => join(dataDir, "gatehouse.db");

/** One database and the ways in which it differs from the other kind. */
export interface Backend {
	readonly kind: StoreKind;
	/** The setting that says where it is, for the error that a person reads when it cannot be opened. */
	readonly setting: "DATA_DIR" | "DATABASE_URL";
	/** Connections of their own, on which a statement fails with STORE_UNAVAILABLE after `patienceMs`. */
	dialect(patienceMs: number): Dialect;
	/** See `Store.nowExpression`. */
	nowExpression(): RawBuilder<number>;
	/** See `Store.backup`. */
	backup(file: string): Promise<void>;
}
