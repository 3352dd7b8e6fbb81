/** The composition root: what it has opened it closes again. */
import { sql } from "kysely";
import { pino } from "pino";
import t from "tap";
import { openServices } from "../../src/services.ts";
import { testApp } from "../support/app.ts";
import { openStoreLocation } from "../support/stores.ts";

t.test("a start that fails when it reports itself leaves nothing open", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const { config, store } = (await testApp(t, { location })).services;
	await sql`create trigger no_report before insert on replicas when new.kids <> '' begin select raise(abort, 'no report'); end`.execute(
		store.db,
	);
	const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
	const lines: string[] = [];
	const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
	const before = timers();
	await t.rejects(openServices(config, { log }), { message: /no report/ });
	t.ok(timers() <= before, "nobody polls any more");
	await new Promise((resolve) => setTimeout(resolve, 700));
	t.same(lines, [], "or says that the closed store cannot be followed");
	await sql`drop trigger no_report`.execute(store.db);
	await (await openServices(config, { log })).close();
	t.ok(timers() <= before);
});
