/** The service behind PgBouncer in transaction mode, where every transaction may meet another connection. Row Z24. */
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import t, { type Test } from "tap";
import { systemClock } from "../../src/clock.ts";
import { openStore } from "../../src/store/store.ts";
import { launchServer } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { startDatabase } from "./support/database.ts";
import { createClient, quantile } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { startPgBouncer } from "./support/pgbouncer.ts";
import { addUsers, command, commonSettings, startReplicas } from "./support/replicas.ts";
import { measureRevocations } from "./support/revocation.ts";
import { connectTo, queryAt } from "./support/sql.ts";

const limits = `alter role gatehouse set statement_timeout = '2s';
	alter role gatehouse set idle_in_transaction_session_timeout = '5s';`;

/** A database with the role `gatehouse`, which owns it and is no superuser. */
async function withRole(t: Test) {
	const database = await startDatabase(t);
	await database.query("create role gatehouse login password 'gatehouse'");
	await database.query("create database gatehouse owner gatehouse");
	const url = new URL(database.url);
	url.username = url.password = "gatehouse";
	url.pathname = "gatehouse";
	return { ...database, url: url.href };
}

t.test(
	"Z24: what PgBouncer must be told, and the role must have, is named by the start that lacks it",
	needs("pgbouncer"),
	async (t) => {
		const database = await withRole(t);
		const fails = async (url: string, reason: RegExp) => {
			const { code, stderr } = await launchServer(t, commonSettings(url)).ended;
			t.equal(code, 1);
			t.match(stderr, reason);
			t.notMatch(stderr, /^\s+at /m, "in words, without a stack");
		};
		await fails(
			await startPgBouncer(t, database.url, { ignored: "" }),
			/ignore_startup_parameters = statement_timeout/,
		);
		await fails(await startPgBouncer(t, database.url), /alter role gatehouse set statement_timeout = '2s'/);
	},
);

t.test(
	"Z24: three replicas start together behind it, and do all that they do without it",
	needs("pgbouncer"),
	async (t) => {
		const database = await withRole(t);
		await database.query(limits);
		const url = await startPgBouncer(t, database.url);
		const replicas = await startReplicas(t, url, { settings: { DATABASE_LISTEN_URL: "off" } });
		const [here, there] = replicas.map((replica) => replica.url);
		if (!here || !there) throw new Error("three replicas");
		const client = createClient();
		t.teardown(client.close);
		const inDatabase = (statement: string) => command(t, url, statement.split(" "));
		const gatehouse = { query: async (text: string, values?: unknown[]) => queryAt(database.url, text, values) };
		const names = await addUsers(gatehouse, 8);

		const rows = await gatehouse.query("select name from kysely_migration");
		t.equal(rows.length, new Set(rows.map(({ name }) => name)).size, "one row a migration");
		t.equal((await inDatabase("migrate")).code, 0);
		t.equal((await inDatabase("user list --json")).code, 0);

		let refreshed = 0;
		await Promise.all(
			names.map(async (name, index) => {
				const at = (turn: number) => replicas[(index + turn) % replicas.length]?.url ?? here;
				let pair = await client.login(at(0), name);
				for (let turn = 0; turn < rounds(200); turn++) {
					const fields = { refresh_token: pair.refresh_token };
					const answer = await client.send(`${at(turn)}/refresh`, { fields });
					if (answer.status !== 200) return void t.fail(`${name}: ${answer.status} ${answer.body}`);
					pair = answer.json();
					refreshed++;
					const { status } = await client.send(`${at(turn + 1)}/protected`, { token: pair.access_token });
					if (status !== 200) return void t.fail(`${name}: ${status}`);
				}
			}),
		);
		t.equal(refreshed, names.length * rounds(200), "each refresh on another replica than the one before");

		const pair = await client.login(here, "root");
		t.equal((await client.send(`${there}/protected`, { token: pair.access_token })).status, 200);
		t.equal((await client.send(`${here}/logout`, { token: pair.access_token, fields: {} })).status, 204);
		const refusedMs = await until(
			"it is refused there",
			async () => (await client.send(`${there}/protected`, { token: pair.access_token })).status !== 200,
			{ everyMs: 10 },
		);
		t.ok(refusedMs < 1000, "by polling alone within a second");

		t.equal((await inDatabase("key rotate")).code, 0);
		t.equal((await inDatabase("user disable user1")).code, 0);
		t.equal((await inDatabase("revoke --issued-before now")).code, 0);
		const locks = await gatehouse.query("select 1 from pg_locks where locktype = 'advisory'");
		t.same(locks, [], "no lock has stayed with a connection");
		const prepared = await queryAt(url, "select name from pg_prepared_statements");
		t.same(prepared, [], "and no prepared statement");
	},
);

t.test(
	"Z24: whoever listens through it is told that nothing arrives, and in session mode that it does",
	needs("pgbouncer"),
	async (t) => {
		const database = await withRole(t);
		await database.query(limits);
		const store = await openStore({ databaseUrl: database.url, dataDir: "", clock: systemClock });
		t.teardown(() => store.close());
		await store.migrate();
		const listenBy = async (databaseListenUrl: string) => {
			const lines: string[] = [];
			const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
			const listening = await openStore({
				databaseUrl: database.url,
				databaseListenUrl,
				dataDir: "",
				clock: systemClock,
			});
			t.teardown(() => listening.close());
			let woken = 0;
			const listener = listening.listen({ onWake: () => void woken++, log });
			t.teardown(() => listener.close());
			for (let turn = 0; lines.length === 0 && turn < 100; turn++) await sleep(50);
			return { lines, listener, woken: () => woken };
		};
		const deaf = await listenBy(await startPgBouncer(t, database.url));
		t.match(deaf.lines, [/do not arrive.*DATABASE_LISTEN_URL/]);
		t.equal(deaf.listener.listening(), false);
		await sleep(3000);
		t.equal(deaf.lines.length, 1, "said once, and not tried again every second");

		const hearing = await listenBy(await startPgBouncer(t, database.url, { mode: "session" }));
		t.same(hearing.lines, ["notifications of changes arrive"]);
		t.equal(hearing.listener.listening(), true);
		const before = hearing.woken();
		await store.transaction((transaction) => store.announce(transaction, "keys"));
		for (let turn = 0; hearing.woken() === before && turn < 40; turn++) await sleep(50);
		t.not(hearing.woken(), before, "and it does");
	},
);

t.test(
	"Z24: with an address of the server itself to listen at, replicas behind it hear of a logout at once",
	needs("pgbouncer"),
	async (t) => {
		const database = await withRole(t);
		await database.query(limits);
		const url = await startPgBouncer(t, database.url);
		const replicas = await startReplicas(t, url, { settings: { DATABASE_LISTEN_URL: database.url } });
		await addUsers({ query: async (text, values) => queryAt(database.url, text, values) }, 1);
		const client = createClient();
		t.teardown(client.close);
		const took = await measureRevocations(client, replicas, rounds(50), { username: "user0" });
		const samples = took.map((milliseconds) => ({ milliseconds }));
		const [median, slowest] = [quantile(samples, 0.5), Math.max(...took)];
		progress(`p50 ${median.toFixed(0)} ms, max ${slowest.toFixed(0)} ms`);
		t.ok(median < 100, `${median.toFixed(0)} ms: polling alone would take more than twice that`);
		t.ok(slowest < 1000, "and never more than a second");
	},
);

t.test(
	"Z24: a statement that waits for a lock ends on the server too, and costs 503 after two seconds",
	needs("pgbouncer"),
	async (t) => {
		const database = await withRole(t);
		await database.query(limits);
		const url = await startPgBouncer(t, database.url);
		const [replica] = await startReplicas(t, url, { count: 1, settings: { DATABASE_LISTEN_URL: "off" } });
		if (!replica) throw new Error("no replica");
		const client = createClient();
		t.teardown(client.close);
		const holder = await connectTo(database.url);
		t.teardown(() => holder.end());
		await holder.query("begin");
		await holder.query("lock table users in access exclusive mode");
		const began = performance.now();
		const answer = await client.send(`${replica.url}/login`, {
			fields: { username: "root", password: "whatever it may be" },
		});
		const tookMs = performance.now() - began;
		t.equal(answer.status, 503);
		t.ok(answer.headers["retry-after"]);
		t.ok(tookMs < 2500, `${tookMs.toFixed(0)} ms`);
		await sleep(500);
		const waiting = await queryAt(database.url, "select query from pg_stat_activity where wait_event_type = 'Lock'");
		t.same(waiting, [], "nobody waits for what nobody wants any more");
		await holder.query("rollback");
		await client.login(replica.url, "root");
	},
);
