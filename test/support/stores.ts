/** Runs a test on both stores: on SQLite in a temporary folder, and on a real PostgreSQL in a database of its own. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { Test } from "tap";
import type { StoreKind } from "../../src/store/migrations.ts";
import type { ChangeTopic } from "../../src/store/schema.ts";
import type { Store } from "../../src/store/store.ts";

/** Where a fresh store is, without data: what `openStore` wants to know, but for the clock. */
export interface StoreLocation {
	databaseUrl: string | undefined;
	dataDir: string;
}

/** Whether a PostgreSQL database comes without the tables, which the others have from `template1` (`template.ts`). */
interface Bare {
	bare?: boolean;
}

/** Makes a fresh store without data, and removes it when the test ends. */
export type OpenStoreLocation = (t: Test, options?: Bare) => Promise<StoreLocation>;

/** Calls `body` once for each kind of store, to register the same tests on both. */
export function onEachStore(body: (kind: StoreKind, open: OpenStoreLocation) => void): void {
	for (const kind of ["sqlite", "postgres"] as const) body(kind, (t, options) => openStoreLocation(t, kind, options));
}

/** Makes a fresh store of one kind, without data. */
export async function openStoreLocation(t: Test, kind: StoreKind, { bare = false }: Bare = {}): Promise<StoreLocation> {
	return {
		databaseUrl: kind === "postgres" ? await temporaryDatabase(t, bare ? "template0" : "template1") : undefined,
		dataDir: temporaryFolder(t),
	};
}

/** The version of every topic of changes. */
export async function versionsOf({ following }: Pick<Store, "following">): Promise<Record<ChangeTopic, number>> {
	const rows = await following.selectFrom("changes").select(["topic", "version"]).execute();
	return Object.fromEntries(rows.map(({ topic, version }) => [topic, version])) as Record<ChangeTopic, number>;
}

/** A folder that goes with the test. */
export function temporaryFolder(t: Pick<Test, "teardown">): string {
	const folder = mkdtempSync(join(tmpdir(), "gatehouse-test-"));
	t.teardown(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

async function temporaryDatabase(t: Test, template: string): Promise<string> {
	const server = process.env.TEST_DATABASE_URL;
	if (!server)
		throw new Error("TEST_DATABASE_URL is not set: run the tests with `npm test`, which starts a PostgreSQL for them");
	const name = `gatehouse_test_${randomBytes(8).toString("hex")}`;
	await onServer(server, `create database ${name} template ${template}`);
	t.teardown(() => onServer(server, `drop database ${name} with (force)`));
	const url = new URL(server);
	url.pathname = name;
	return url.href;
}

async function onServer(server: string, statement: string): Promise<void> {
	const client = new pg.Client({ connectionString: server });
	await client.connect();
	try {
		await client.query(statement);
	} finally {
		await client.end();
	}
}
