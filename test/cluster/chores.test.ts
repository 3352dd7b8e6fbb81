/** Housekeeping of three replicas on one database. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { full, progress } from "../support/rounds.ts";
import { startDatabase } from "./support/database.ts";
import { command, startReplicas } from "./support/replicas.ts";

t.test("Z29: three replicas do each chore of the store once in its time", async (t) => {
	const database = await startDatabase(t);
	await command(t, database.url, ["migrate"]);
	await database.query(`
		create table done (name text, at timestamptz default clock_timestamp());
		create function note() returns trigger language plpgsql as $$ begin
			insert into done (name) values (new.name); return new; end $$;
		create trigger note after insert or update on chores for each row execute function note();
	`);
	await database.query(
		"insert into revocations (id, ends_at, seq) select 'old-' || i, 1, 0 from generate_series(1, 3000) as i",
	);
	await startReplicas(t, database.url);
	const began = performance.now();
	const seconds = full ? 305 : 65;
	await sleep(seconds * 1000);
	const counts = await database.query("select name, count(*)::int as n from done group by name order by name");
	const passed = (performance.now() - began) / 1000;
	const count = (name: string) => Number(counts.find((row) => row.name === name)?.n ?? 0);
	for (const name of ["sessions", "revocations", "login tries", "security events", "replicas"])
		t.ok(
			count(name) >= 1 && count(name) <= Math.ceil(passed / 60),
			`${name}: ${count(name)} times in ${passed.toFixed(0)} s`,
		);
	t.same(await database.query("select id from revocations"), [], "and what is over is gone");
	progress(counts.map(({ name, n }) => `${name} ${n}`).join(", "));
});
