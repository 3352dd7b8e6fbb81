/** A start with very many accounts: nothing in it may look at each of them. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { startUnder } from "./support/single.ts";

/** Makes a store with so many accounts and sessions, and measures how long a start and its first login take. */
async function measure(t: Test, count: number): Promise<{ readyMs: number; loginMs: number }> {
	const folder = temporaryFolder(t);
	const first = await startUnder(t, ["env"], { DATA_DIR: folder });
	await first.pairFor("root");
	first.signal("SIGINT");
	await first.ended;
	const database = new DatabaseSync(join(folder, "gatehouse.db"));
	const copies = (table: string, replaced: Record<string, string>, where: string): string => {
		const columns = database
			.prepare("select name from pragma_table_info(?)")
			.all(table)
			.map(({ name }) => String(name));
		const values = columns.map((name) => replaced[name] ?? `one.${name}`);
		return `insert into ${table} (${columns}) select ${values} from numbers, ${table} as one where ${where}`;
	};
	const numbers = `with recursive numbers (n) as (values (1) union all select n + 1 from numbers where n < ${count})`;
	database.exec("begin");
	database.exec(
		`${numbers} ${copies("users", { id: "'user-' || n", username: "'user' || n" }, "one.username = 'root'")}`,
	);
	database.exec(
		`${numbers} ${copies("sessions", { id: "'session-' || n", user_id: "'user-' || n" }, `true limit ${count}`)}`,
	);
	database.exec("commit");
	const { users, sessions } =
		database
			.prepare("select (select count(*) from users) as users, (select count(*) from sessions) as sessions")
			.get() ?? {};
	t.same({ users, sessions }, { users: count + 1, sessions: count + 1 }, "they are there");
	database.close();
	const runs = [];
	for (let round = 0; round < 5; round++) {
		const began = performance.now();
		const server = await startUnder(t, ["env"], { DATA_DIR: folder });
		const readyMs = performance.now() - began;
		const asked = performance.now();
		t.equal((await server.login("root")).status, 200);
		runs.push({ readyMs, loginMs: performance.now() - asked });
		server.signal("SIGINT");
		await server.ended;
		await sleep(100);
	}
	const median = (values: number[]) => values.sort((a, b) => a - b)[2] as number;
	return { readyMs: median(runs.map(({ readyMs }) => readyMs)), loginMs: median(runs.map(({ loginMs }) => loginMs)) };
}

t.test(
	"Z30: with a million accounts and sessions it is ready as soon, and the first login takes as long",
	async (t) => {
		const few = await measure(t, 1000);
		const many = await measure(t, 1_000_000);
		const show = ({ readyMs, loginMs }: typeof few) =>
			`ready ${readyMs.toFixed(0)} ms, first login ${loginMs.toFixed(0)} ms`;
		progress(`with few: ${show(few)}; with many: ${show(many)}`);
		t.ok(many.readyMs < 2000, "ready within 2 s");
		t.ok(many.readyMs < few.readyMs * 1.5, "no later than with few");
		t.ok(many.loginMs < few.loginMs * 2, "the first login takes no longer than twice");
	},
);
