/** Too few connections to PostgreSQL: all of them wait for a lock, the server has no more to give, or one of them dies. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import t, { type Test } from "tap";
import { rootAccount, type TokenPair } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { type Database, startDatabase } from "./support/database.ts";
import { broke, createClient, failures, quantile, startLoad, summary } from "./support/load.ts";
import { untilLogin } from "./support/outage.ts";
import { addUsers, commonSettings, createReplica, startReplicas } from "./support/replicas.ts";

/** Connections that somebody else holds, until they are let go. */
async function hold(t: Test, { url }: Database, count: number, statement?: string) {
	const clients = Array.from({ length: count }, () => new pg.Client({ connectionString: url }));
	for (const client of clients) {
		await client.on("error", () => {}).connect();
		if (statement !== undefined) await client.query(statement);
	}
	const letGo = async () => {
		for (const client of clients) await client.end();
	};
	t.teardown(letGo);
	return letGo;
}

t.test(
	"Z09, fault 11: requests that wait for a connection fail within 2 s, all else stays fast, and it passes",
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url, { count: 2 });
		const [{ url: a }, { url: b }] = replicas as [(typeof replicas)[0], (typeof replicas)[0]];
		const client = createClient();
		t.teardown(client.close);
		const names = await addUsers(database, 20);
		// Two pools of ten: these are more than they hold.
		const pairs: TokenPair[] = [];
		for (let index = 0; index < 60; index++) pairs.push(await client.login(index % 2 ? a : b, names[index % 20] ?? ""));

		const letGo = await hold(t, database, 1, "begin; lock table sessions in access exclusive mode");
		const quick: { milliseconds: number }[] = [];
		const slow: { milliseconds: number; status: number | string }[] = [];
		const time = async (into: typeof slow, call: () => ReturnType<typeof client.send>) => {
			const begin = performance.now();
			const status = await call().then((answer) => answer.status, broke);
			into.push({ milliseconds: performance.now() - begin, status });
		};
		const pending: Promise<void>[] = [];
		const probed: typeof slow = [];
		// Spread over five seconds, so that some begin to wait while others have waited for long.
		for (const [index, { access_token: token, refresh_token }] of pairs.entries()) {
			const url = index % 2 ? a : b;
			pending.push(time(slow, () => client.send(`${url}/refresh`, { fields: { refresh_token } })));
			for (const path of ["/livez", "/.well-known/jwks.json", "/protected"])
				pending.push(time(probed, () => client.send(`${url}${path}`, { token })));
			await sleep(index > 25 ? 150 : 20);
		}
		await Promise.all(pending);
		quick.push(...probed);
		await letGo();

		const slowest = Math.max(...slow.map(({ milliseconds }) => milliseconds));
		progress(
			`refreshes: ${slow.length}, slowest ${slowest.toFixed(0)} ms; others p99 ${quantile(quick, 0.99).toFixed(0)} ms`,
		);
		t.same([...new Set(slow.map(({ status }) => status))], [503], "every refresh is refused");
		t.ok(slowest <= 2000, `within 2 s: ${slowest.toFixed(0)} ms`);
		t.same([...new Set(probed.map(({ status }) => status))], [200], "probes, the key set and checks of tokens go on");
		t.ok(quantile(quick, 0.99) < 100, "as fast as ever");
		const refreshToken = pairs[0]?.refresh_token ?? "";
		const recoveredMs = await until(
			"a refresh works",
			async () => (await client.send(`${b}/refresh`, { fields: { refresh_token: refreshToken } })).status === 200,
			{ seconds: 30 },
		);
		t.ok(recoveredMs <= 5000, `it passes: ${recoveredMs.toFixed(0)} ms`);
	},
);

t.test(
	"Fault 12: a replica that gets no connection is not ready, the others serve on, and it recovers alone",
	async (t) => {
		const database = await startDatabase(t, {
			settings: { max_connections: "40", superuser_reserved_connections: "0" },
		});
		const replicas = await startReplicas(t, database.url, { count: 2 });
		const [first] = replicas as [(typeof replicas)[0]];
		const names = await addUsers(database, 12);
		const client = createClient();
		t.teardown(client.close);
		const load = await startLoad(t, first.url, names, { perSecond: 50, sessions: 4 });
		const free = async () => {
			const [row] = await database.query(
				"select 40 - count(*) as free from pg_stat_activity where backend_type = 'client backend'",
			);
			return Number(row?.free);
		};
		// What the pools of those that serve hold they keep; they open ten each when they have so much to do.
		const { BOOTSTRAP_PASSWORD: password } = rootAccount;
		const logins = replicas.flatMap(({ url }) => names.map((name) => client.login(url, name)));
		await Promise.all(logins);
		const letGo = await hold(t, database, await free());

		const late = await createReplica(t, commonSettings(database.url));
		const isReady = async () => (await client.send(`${late.url}/readyz`).catch(() => undefined))?.status === 200;
		// What starts it again when it ends is the cluster's part: Kubernetes, or compose.
		let hogged = true;
		const restarting = (async () => {
			while (hogged) {
				await late.start().catch(() => {});
				if (hogged && (await isReady())) break;
				await sleep(200);
			}
		})();
		for (let turn = 0; turn < 25; turn++) {
			t.equal(await isReady(), false, "the late one is not ready");
			await sleep(200);
		}
		await letGo();
		const recoveredMs = await until("the late one is ready", isReady, { seconds: 30 });
		hogged = false;
		await restarting;
		t.ok(recoveredMs <= 10_000, `once there are connections it is ready: ${recoveredMs.toFixed(0)} ms`);
		t.equal(
			(
				await client.send(`${late.url}/login`, {
					fields: { username: "user0", password: password },
				})
			).status,
			200,
		);
		const samples = await load.stop();
		t.comment(summary(samples));
		t.same(failures(samples), [], "the others served on");
	},
);

t.test(
	"Fault 6: PostgreSQL ends every connection to recover from a crash, and no process of the service ends with them",
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url, { count: 2 });
		const [{ url }] = replicas as [(typeof replicas)[0]];
		const load = await startLoad(t, url, await addUsers(database, 10), { perSecond: 100 });
		const times = rounds(20);
		for (let round = 0; round < times; round++) {
			await sleep(1000 + Math.random() * 1000);
			await database.killBackend();
			const recoveredMs = await untilLogin(url, "user0");
			t.ok(recoveredMs <= 5000, `a login works within 5 s: ${recoveredMs.toFixed(0)} ms`);
		}
		const samples = await load.stop();
		progress(summary(samples));
		t.same(
			samples.filter(({ outcome }) => outcome !== 200 && outcome !== 503),
			[],
			"what failed was refused with 503",
		);
		t.same(
			failures(samples).filter(({ kind }) => kind === "protected"),
			[],
			"and no check of a token failed",
		);
		for (const { server } of replicas) {
			t.equal(server.child.exitCode, null, "it was not restarted");
			t.same(
				server.logged().filter(({ level }) => level === "fatal" || level === 60),
				[],
				"nothing was left unhandled",
			);
		}
	},
);

t.test("F15: 500 refreshes of a session whose row is held leave the five connections to everybody else", async (t) => {
	// A pool takes a fifth of what the server has.
	const database = await startDatabase(t, { settings: { max_connections: "25" } });
	const [{ url }] = (await startReplicas(t, database.url, { count: 1 })) as [Awaited<ReturnType<typeof createReplica>>];
	const client = createClient();
	t.teardown(client.close);
	const names = await addUsers(database, 10);
	const held = await client.login(url, "root");
	const pairs: TokenPair[] = [];
	for (const name of names) pairs.push(await client.login(url, name));
	const refresh = ({ refresh_token }: TokenPair) => client.send(`${url}/refresh`, { fields: { refresh_token } });

	const took: { milliseconds: number }[] = [];
	/** Refreshes the sessions of all others, again and again. */
	const refreshOthers = (untilMs: number) =>
		Promise.all(
			pairs.map(async (_, index) => {
				while (performance.now() < untilMs) {
					const sentMs = performance.now();
					const answer = await refresh(pairs[index] as TokenPair);
					took.push({ milliseconds: performance.now() - sentMs });
					if (answer.status !== 200) return void t.fail(`${names[index]}: ${answer.status} ${answer.body}`);
					pairs[index] = answer.json();
					await sleep(20);
				}
			}),
		);
	// A process that has just started is slow until V8 has compiled what is hot.
	await refreshOthers(performance.now() + 2000);
	took.length = 0;

	const root = "select sessions.id from sessions join users on users.id = user_id where username = 'root'";
	const letGo = await hold(t, database, 1, `begin; select from sessions where id in (${root}) for update`);
	const begin = performance.now();
	let answered = 0;
	const waiting: ReturnType<typeof refresh>[] = [];
	while (waiting.length < 500) {
		for (let turn = 0; turn < 25; turn++) waiting.push(refresh(held).finally(() => answered++));
		await sleep(10);
	}
	// How long one process takes to open 500 sockets is not what this is about, but whether they wait with a connection.
	await sleep(200);
	// Less than the patience with a statement: then those who wait are answered too.
	await refreshOthers(begin + 1400);
	t.equal(waiting.length, 500);
	t.equal(answered, 0, "all of them wait");
	await letGo();
	const answers = await Promise.all(waiting);
	const p99 = quantile(took, 0.99);
	progress(`${took.length} refreshes of others, p99 ${p99.toFixed(0)} ms`);
	t.ok(took.length >= names.length, "others were refreshed meanwhile");
	t.ok(p99 < 250, `p99 of others ${p99.toFixed(0)} ms`);
	t.strictSame([...new Set(answers.map(({ status }) => status))], [200]);
	t.equal(new Set(answers.map((answer) => answer.json<TokenPair>().refresh_token)).size, 1, "with one successor");
});
