/** The tables of PostgreSQL databases that tests make: each test would spend more on them than on itself. */
import { systemClock } from "../../src/clock.ts";
import { openStore } from "../../src/store/store.ts";

/** Makes them in `template1`, which a server copies for every new database. */
export async function makeTables(server: string): Promise<void> {
	const url = new URL(server);
	url.pathname = "template1";
	const store = await openStore({ databaseUrl: url.href, dataDir: "", clock: systemClock });
	try {
		await store.migrate();
	} finally {
		await store.close();
	}
}
