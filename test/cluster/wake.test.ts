/** How replicas hear of each other: by notifications, by polling alone, and after everything that can go wrong with both. */
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { full, progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { openProxy } from "./support/proxy.ts";
import { command, type Replica, startReplicas } from "./support/replicas.ts";
import { measureRevocations, revocationMs } from "./support/revocation.ts";
import { connectTo } from "./support/sql.ts";

/** The promised bound on every replica that reaches the store. */
const boundMs = 1000;
const listens = "query = 'listen gatehouse_changes'";

/** So large a share of the values is this or less: of a hundred, 0.99 is the second largest. */
const at = (values: readonly number[], share: number): number =>
	[...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN;
const spread = (values: readonly number[]): string =>
	[0.5, 0.99, 1].map((share) => `${at(values, share).toFixed(0)} ms`).join(", ");

function clientOf(t: Test) {
	const client = createClient();
	t.teardown(() => client.close());
	return client;
}

async function connect(t: Test, url: string) {
	const client = await connectTo(url);
	t.teardown(() => client.end());
	return client;
}

/** How often each replica has said that notifications arrive. */
const arrivals = (replica: Replica): number =>
	replica.server.logged().filter(({ msg }) => msg === "notifications of changes arrive").length;

/** Waits until each replica has said so as often as this. */
const allListen = (replicas: readonly Replica[], times: number) =>
	until("all listen", () => replicas.every((replica) => arrivals(replica) === times), { seconds: 30 });

t.test("V02: a logout at one of three replicas is one at the others within a second, by polling alone", async (t) => {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url, { settings: { DATABASE_LISTEN_URL: "off" } });
	t.same(await database.query(`select 1 from pg_stat_activity where ${listens}`), [], "nobody listens");
	const took = await measureRevocations(clientOf(t), replicas, rounds(500), { lanes: 4 });
	progress(`polling alone, ${took.length} rounds: p50, p99, max ${spread(took)}`);
	t.ok(at(took, 1) <= boundMs, `p50, p99, max: ${spread(took)}`);
});

t.test("V02: with notifications it takes 50 ms at most in 99 of 100", async (t) => {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url);
	await allListen(replicas, 1);
	// Fewer would have no hundredth.
	const took = await measureRevocations(clientOf(t), replicas, Math.max(100, rounds(500)), { idleMs: 300 });
	progress(`with notifications, ${took.length} rounds: p50, p99, max ${spread(took)}`);
	t.ok(at(took, 0.99) <= 50, `p50, p99, max: ${spread(took)}`);
	t.ok(at(took, 1) <= boundMs);
});

t.test("V09, fault 10: the bound holds while listeners are cut off, and they come back by themselves", async (t) => {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url);
	const [from, ...others] = replicas as [Replica, ...Replica[]];
	const client = clientOf(t);
	const took: number[] = [];
	for (let round = 1; round <= rounds(50); round++) {
		await allListen(replicas, round);
		const { access_token } = await client.login(from.url, "root");
		const cut = await database.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${listens}`);
		t.equal(cut.length, 3, "one connection each");
		took.push(await revocationMs(client, from, others, access_token));
	}
	progress(`listeners cut, ${took.length} rounds: p50, p99, max ${spread(took)}`);
	t.ok(at(took, 1) <= boundMs, spread(took));
});

t.test("V09, fault 10: notifications that a network swallows are missed by nobody for long", async (t) => {
	const database = await startDatabase(t);
	const proxy = await openProxy(t, database.port);
	const listenUrl = new URL(database.url);
	listenUrl.port = String(proxy.port);
	const replicas = await startReplicas(t, database.url, { settings: { DATABASE_LISTEN_URL: listenUrl.href } });
	await allListen(replicas, 1);
	const client = clientOf(t);
	proxy.line.swallows = true;
	const took = await measureRevocations(client, replicas, rounds(50));
	t.ok(at(took, 1) <= boundMs, `nobody is told that the connection is dead: ${spread(took)}`);
	await until(
		"the silence is noticed",
		() => replicas.every(({ server }) => server.logged().some(({ msg }) => /do not arrive/.test(String(msg)))),
		{ seconds: 30 },
	);
	proxy.line.swallows = false;
	await allListen(replicas, 2);
	const again = await measureRevocations(client, replicas, 10);
	t.ok(at(again, 0.5) <= 50, `woken again: ${spread(again)}`);
});

t.test("Z10, fault 10: revocations and keys arrive although every NOTIFY is blocked", async (t) => {
	// Transactions of the service wait for no standby; the one below does.
	const database = await startDatabase(t, { settings: { synchronous_commit: "local" } });
	const replicas = await startReplicas(t, database.url);
	const client = clientOf(t);
	await allListen(replicas, 1);
	await database.query("alter system set synchronous_standby_names = 'nobody'");
	await database.query("select pg_reload_conf()");
	// Who notifies holds a lock of the whole server until its commit is through, and this one waits for a standby that never comes.
	const blocker = await connect(t, database.url);
	await blocker.query("set synchronous_commit = on");
	let blocking: Promise<unknown>;
	// The server hears of its new configuration a moment later.
	const statements = "begin; select pg_logical_emit_message(true, 'written', ''); notify something; commit";
	do blocking = blocker.query(statements);
	while (await Promise.race([blocking, sleep(500, undefined)]));
	const probe = await connect(t, database.url);
	await probe.query("set lock_timeout = 300");
	await t.rejects(probe.query("notify anything"), { code: "55P03" }, "no NOTIFY of anybody gets through");

	const took = await measureRevocations(client, replicas, rounds(50), { lanes: 2 });
	progress(`NOTIFY blocked, ${took.length} rounds: p50, p99, max ${spread(took)}`);
	t.ok(at(took, 1) <= boundMs, spread(took));
	const { kid } = JSON.parse((await command(t, database.url, ["key", "rotate", "--json"])).stdout);
	const shows = async ({ url }: Replica) => (await client.send(`${url}/.well-known/jwks.json`)).body.includes(kid);
	await until("every replica shows the new key", async () => (await Promise.all(replicas.map(shows))).every(Boolean), {
		seconds: boundMs / 1000,
	});
	await t.rejects(probe.query("notify anything"), { code: "55P03" }, "it was blocked to the end");

	const [waiting] = await database.query(
		"select count(*) from pg_stat_activity where query like '%notify gatehouse%' and wait_event_type = 'Lock'",
	);
	t.ok(
		Number(waiting?.count) <= replicas.length,
		`${waiting?.count} connections wait: attempts do not pile up in the server`,
	);
	await database.query("alter system reset synchronous_standby_names");
	await database.query("select pg_reload_conf()");
	await blocking;
	const again = await measureRevocations(client, replicas, 10);
	t.ok(at(again, 0.5) <= 50, `woken again: ${spread(again)}`);
});

t.test(
	"fault 32: a replica that was frozen refuses what was revoked meanwhile before it accepts anything",
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url, { count: 2 });
		const [from, frozen] = replicas as [Replica, Replica];
		const clients = Array.from({ length: 8 }, () => clientOf(t));
		const [client] = clients as [(typeof clients)[0]];
		const { access_token: good } = await client.login(from.url, "root");
		for (let round = 1; round <= rounds(20); round++) {
			const seconds = full && round === 1 ? 60 : 3;
			const { access_token } = await client.login(from.url, "root");
			const ask = (one: typeof client, token: string) =>
				one.send(`${frozen.url}/protected`, { token, patienceMs: 90_000 }).then(({ status }) => status);
			t.equal(await ask(client, access_token), 200, "remembered there");
			frozen.freeze();
			await client.send(`${from.url}/logout`, { token: access_token, fields: {} });
			await sleep(seconds * 1000);
			// Some wait in its sockets, over connections old and new, when it goes on; others come in that moment.
			const waiting = clients.map((one) => ask(one, access_token));
			await sleep(100);
			frozen.thaw();
			const later = Array.from({ length: 50 }, async (_, index) => {
				await sleep(index * 5);
				return ask(client, access_token);
			});
			const answers = await Promise.all([...waiting, ...later]);
			t.same([...new Set(answers)], [401], `frozen for ${seconds} s`);
			t.equal(await ask(client, good), 200, "another token is good on");
		}
		const frozenTimes = frozen.server.logged().filter(({ msg }) => /was frozen/.test(String(msg))).length;
		t.equal(frozenTimes, rounds(20));
	},
);
