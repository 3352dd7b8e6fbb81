/** What becomes of the service when its database is full, locked, or not the primary any more. */
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { TokenPair } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { copyOf } from "./support/copy.ts";
import { type Database, startDatabase } from "./support/database.ts";
import { createClient, type Sample, startLoad, summary } from "./support/load.ts";
import { openProxy } from "./support/proxy.ts";
import { addUsers, commonSettings, createReplica, startReplicas } from "./support/replicas.ts";
import { connectTo, queryAt } from "./support/sql.ts";

type Client = ReturnType<typeof createClient>;

/** A role that is no superuser, so that the server's reserve is not for it; it owns the database `gatehouse`. */
async function ownDatabase(database: Database): Promise<string> {
	await database.query("create role gatehouse login password 'gatehouse'");
	await database.query("create database gatehouse owner gatehouse");
	const url = new URL(database.url);
	url.username = url.password = "gatehouse";
	url.pathname = "gatehouse";
	return url.href;
}

function open(t: Test): Client {
	const client = createClient();
	t.teardown(client.close);
	return client;
}

/** A test that waits for longer fails. */
const patience = { seconds: 15, everyMs: 25 };
const fields = { username: "root", password: "no password of this account" };

t.test(
	"Z09, fault 11: when every connection waits for a lock, requests end in time, and what needs no store goes on",
	async (t) => {
		const database = await startDatabase(t);
		const [replica, other] = await startReplicas(t, database.url, { count: 2 });
		if (!replica || !other) throw new Error("two replicas");
		const { url } = replica;
		const client = open(t);
		const { access_token: token, refresh_token } = await client.login(url, "root");
		const { access_token: spare } = await client.login(url, "root");
		const holders = await Promise.all(Array.from({ length: 20 }, () => connectTo(database.url)));
		t.teardown(() => Promise.all(holders.map((holder) => holder.end())));
		const [first, ...others] = holders;
		await first?.query("begin; lock table users, sessions in access exclusive mode");
		for (const holder of others)
			holder.query("begin; lock table users, sessions in access exclusive mode").catch(() => {});

		const began = performance.now();
		const slow = Array.from({ length: 40 }, async (_, index) => {
			const sent = index % 2 ? { fields } : { fields: { refresh_token } };
			const answer = await client.send(`${url}${index % 2 ? "/login" : "/refresh"}`, sent);
			return { answer, tookMs: performance.now() - began };
		});
		// What another replica revokes meanwhile is heard here, although every connection for requests is taken.
		const revoked = (async () => {
			await sleep(500);
			const { status } = await client.send(`${other.url}/revoke`, { token: spare, fields: { token: spare } });
			t.equal(status, 200);
			const isRefused = async () => (await client.send(`${url}/protected`, { token: spare })).status === 401;
			return until("it is refused here", isRefused, patience);
		})();
		const quick: number[] = [];
		while (performance.now() - began < 2000) {
			for (const path of ["/livez", "/.well-known/jwks.json", "/protected"]) {
				const at = performance.now();
				const { status } = await client.send(`${url}${path}`, { token });
				if (status !== 200) t.fail(`${path}: ${status}`);
				quick.push(performance.now() - at);
			}
			await sleep(20);
		}
		const revokedMs = await revoked;
		t.ok(revokedMs < 1000, `refused ${revokedMs.toFixed(0)} ms after it was revoked elsewhere`);
		const answers = await Promise.all(slow);
		t.same([...new Set(answers.map(({ answer }) => answer.status))], [503]);
		t.ok(
			answers.every(({ answer }) => Number(answer.headers["retry-after"]) > 0),
			"with Retry-After",
		);
		const slowest = Math.max(...answers.map(({ tookMs }) => tookMs));
		t.ok(slowest < 2700, `the slowest after ${slowest.toFixed(0)} ms`);
		quick.sort((a, b) => a - b);
		const p95 = quick[Math.floor(quick.length * 0.95)] ?? Number.NaN;
		t.ok(quick.length > 30 && p95 < 250, `${quick.length} answers without the store, p95 ${p95.toFixed(0)} ms`);
		await Promise.all(holders.map((holder) => holder.end()));
		const backMs = await until(
			"a refresh works",
			async () => (await client.send(`${url}/refresh`, { fields: { refresh_token } })).status === 200,
			patience,
		);
		t.ok(backMs < 5000, `back after ${backMs.toFixed(0)} ms`);
	},
);

t.test(
	"Z25: three replicas that restart at once under load fit into max_connections = 20, and all become ready",
	async (t) => {
		const database = await startDatabase(t, { settings: { max_connections: "20" } });
		const url = await ownDatabase(database);
		const replicas = await startReplicas(t, url);
		const names = await addUsers(
			{ query: (text, values) => queryAt(database.url.replace(/postgres$/, "gatehouse"), text, values) },
			10,
		);
		let most = 0;
		const watch = await connectTo(database.url);
		t.teardown(() => watch.end());
		for (let round = 1; round <= rounds(10); round++) {
			const load = await Promise.all(
				replicas.map((replica) => startLoad(t, replica.url, names, { perSecond: 60, sessions: 10 })),
			);
			for (let turn = 0; turn < 30; turn++) {
				const { rows } = await watch.query(
					"select count(*)::int as n from pg_stat_activity where usename = 'gatehouse'",
				);
				most = Math.max(most, rows[0].n);
				await sleep(100);
			}
			const samples = (await Promise.all(load.map((one) => one.stop()))).flat();
			t.same(
				samples.filter(({ outcome }) => outcome !== 200),
				[],
				summary(samples),
			);
			await Promise.all(replicas.map((replica) => replica.kill()));
			await Promise.all(replicas.map((replica) => replica.start()));
			for (const replica of replicas) t.equal((await fetch(`${replica.url}/readyz`)).status, 200);
		}
		t.ok(most <= 15, `at most ${most} connections`);
		t.notMatch(database.log(), /remaining connection slots|too many clients/, "the server had to refuse none");
	},
);

t.test(
	"fault 12: a replica that finds no connection left is not ready, the others serve, and it comes by itself",
	async (t) => {
		const database = await startDatabase(t, { settings: { max_connections: "20" } });
		const url = await ownDatabase(database);
		const replicas = await startReplicas(t, url, { count: 2 });
		const hogs: Awaited<ReturnType<typeof connectTo>>[] = [];
		t.teardown(() => Promise.all(hogs.map((hog) => hog.end())));
		for (let full = false; !full; )
			await connectTo(url).then(
				(hog) => hogs.push(hog),
				() => {
					full = true;
				},
			);
		const late = await createReplica(t, commonSettings(url));
		let ready = false;
		const starting = late.start().then(() => {
			ready = true;
		});
		const client = open(t);
		for (const replica of replicas) {
			const logins = await Promise.all([1, 2, 3, 4, 5, 6].map(() => client.login(replica.url, "root")));
			t.equal(logins.length, 6, "the others share the connections that they have");
		}
		await sleep(2000);
		t.notOk(ready);
		const probe = await client.send(`${late.url}/readyz`).catch(() => undefined);
		t.not(probe?.status, 200);
		await Promise.all(hogs.splice(0).map((hog) => hog.end()));
		await starting;
		t.equal((await client.send(`${late.url}/readyz`)).status, 200);
		await client.login(late.url, "root");
	},
);

t.test("fault 6: a backend that is killed costs what was under way, and no replica ends", async (t) => {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url, { count: 2 });
	const load = await startLoad(t, replicas[0]?.url ?? "", await addUsers(database, 10), { perSecond: 100 });
	const kills = rounds(20);
	for (let turn = 0; turn < kills; turn++) {
		await sleep(1500);
		await database.killBackend();
		await sleep(3500);
	}
	const lastMs = load.nowMs();
	await sleep(2000);
	const samples = await load.stop();
	t.same(
		[...new Set(samples.map(({ outcome }) => outcome))].filter((outcome) => outcome !== 503),
		[200],
		summary(samples),
	);
	const bad = (sample: Sample) => sample.outcome !== 200;
	t.same(
		samples.filter((sample) => sample.kind === "protected" && bad(sample)),
		[],
	);
	t.same(
		samples.filter((sample) => sample.atMs > lastMs && bad(sample)),
		[],
		"afterwards all is well",
	);
	for (const { server } of replicas) t.equal(server.child.exitCode, null);
	progress(summary(samples));
});

t.test(
	"Z23, V02, fault 7: a failover that lost writes: what is revoked afterwards is, also at a replica that had heard of more",
	async (t) => {
		const old = await startDatabase(t);
		const [before, after] = [await openProxy(t, old.port), await openProxy(t, old.port)];
		const through = (port: number) => Object.assign(new URL(old.url), { port: String(port) }).href;
		const [here] = await startReplicas(t, through(before.port), { count: 1 });
		const [there] = await startReplicas(t, through(after.port), { count: 1 });
		if (!here || !there) throw new Error("two replicas");
		const client = open(t);
		const logout = (url: string, pair: TokenPair) =>
			client.send(`${url}/logout`, { token: pair.access_token, fields: {} });
		const use = async (url: string, pair: TokenPair) =>
			(await client.send(`${url}/protected`, { token: pair.access_token })).status;
		const refusedAt = (url: string, pair: TokenPair) => async () => (await use(url, pair)) === 401;
		const [lost, next] = [await client.login(here.url, "root"), await client.login(here.url, "root")];
		// A standby that has not heard of what comes now.
		const standby = await startDatabase(t, { folder: await copyOf(t, old) });
		t.equal((await logout(here.url, lost)).status, 204);
		await until("the logout is known there", refusedAt(there.url, lost), patience);

		// There the network is away until all is over.
		after.line.refuses = true;
		after.cutAll();
		await old.stop();
		before.line.target = standby.port;
		const out = async () => (await logout(here.url, next)).status === 204;
		await until("one can log out again, under the number that the lost logout had", out, patience);
		t.equal(await use(there.url, next), 200, "nobody has told it");
		after.line.target = standby.port;
		after.line.refuses = false;
		await until("the logout is known there", refusedAt(there.url, next), { seconds: 5, everyMs: 25 });
		t.same([await use(here.url, lost), await use(there.url, lost)], [401, 401], "what a replica has heard it keeps");
	},
);

t.test(
	"Z23, fault 7: a server that turned read-only is left for the new one within ten seconds, with all that was true",
	async (t) => {
		const old = await startDatabase(t);
		const proxy = await openProxy(t, old.port);
		const through = new URL(old.url);
		through.port = String(proxy.port);
		const [here, there] = await startReplicas(t, through.href, { count: 2 });
		if (!here || !there) throw new Error("two replicas");
		const client = open(t);
		const post = (url: string, path: string, pair: TokenPair, more: Record<string, string> = {}) =>
			client.send(`${url}${path}`, { token: pair.access_token, fields: more });
		const use = async (url: string, pair: TokenPair) =>
			(await client.send(`${url}/protected`, { token: pair.access_token })).status;
		const [out, stays, later] = [
			await client.login(here.url, "root"),
			await client.login(here.url, "root"),
			await client.login(there.url, "root"),
		];
		t.equal((await post(here.url, "/logout", out)).status, 204);
		await until("the logout is known there", async () => (await use(there.url, out)) === 401, patience);

		await old.query("alter system set default_transaction_read_only = on");
		await old.query("select pg_reload_conf()");
		await sleep(200);
		const began = performance.now();
		const refused = await client.send(`${here.url}/login`, {
			fields: { username: "root", password: "copper thistle meridian 2718" },
		});
		t.equal(refused.status, 503);
		t.ok(refused.headers["retry-after"]);
		t.ok(performance.now() - began < 2500, "in time");
		t.same([await use(here.url, stays), await use(here.url, out)], [200, 401], "tokens are judged by what is known");
		const degraded = async () =>
			(await client.send(`${there.url}/readyz`)).json<{ status: string }>().status === "degraded";
		const noticedMs = await until("the other is degraded", degraded, patience);
		t.ok(noticedMs < 3000, "also a replica that only reads has noticed");

		const copied = await copyOf(t, old);
		const next = await startDatabase(t, { folder: copied });
		await next.query("alter system reset default_transaction_read_only");
		await next.query("select pg_reload_conf()");
		// Connections that are open stay where they are: the old server lives on.
		proxy.line.target = next.port;
		const backMs = await until(
			"a refresh works",
			async () =>
				(await client.send(`${here.url}/refresh`, { fields: { refresh_token: stays.refresh_token } })).status === 200,
			patience,
		);
		t.ok(backMs < 10_000, `writes go on after ${backMs.toFixed(0)} ms`);
		t.ok((await until("the other is well", async () => !(await degraded()), patience)) < 10_000);
		t.same([await use(here.url, out), await use(there.url, out)], [401, 401], "what was revoked before stays so");
		t.equal((await client.send(`${here.url}/refresh`, { fields: { refresh_token: out.refresh_token } })).status, 401);
		t.equal((await post(there.url, "/logout", later)).status, 204);
		const heardMs = await until("the logout is known here", async () => (await use(here.url, later)) === 401, patience);
		t.ok(heardMs < 1000, "and both hear of each other");
		const left = async () =>
			(
				await old.query(
					"select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
				)
			).length;
		const leftMs = await until("all have left", async () => (await left()) === 0, { seconds: 20, everyMs: 25 });
		t.ok(leftMs < 20_000, "nobody is connected to the old one");
	},
);
