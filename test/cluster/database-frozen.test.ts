/** PostgreSQL is frozen, or the network to it swallows everything: connections stay open, and nothing answers. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { rootAccount } from "../support/process.ts";
import { full, progress } from "../support/rounds.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { keepsItsPromises, untilLogin, watch } from "./support/outage.ts";
import { needs } from "./support/packages.ts";
import { openProxy } from "./support/proxy.ts";
import { type Replica, startReplicas } from "./support/replicas.ts";

const seconds = full ? 60 : 15;

/** What a process holds: resident megabytes and open files. */
const holds = ({ server: { pid } }: Replica) => ({
	megabytes: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024,
	files: readdirSync(`/proc/${pid}/fd`).length,
});

t.test("Z07, fault 5: logins whose hash is being checked when the database freezes end within 2 s, too", async (t) => {
	const database = await startDatabase(t);
	// A hash takes some 0.2 s here, and the second one waits for the first.
	const [replica] = await startReplicas(t, database.url, {
		count: 1,
		settings: { HASH_COST: "12", LOGIN_LIMITS: "on" },
	});
	if (!replica) throw new Error("one replica");
	const client = createClient();
	t.teardown(client.close);
	const begin = performance.now();
	await client.login(replica.url, "root");
	const loginMs = performance.now() - begin;
	const fields = { username: rootAccount.BOOTSTRAP_USERNAME, password: rootAccount.BOOTSTRAP_PASSWORD };
	let frozenMs = Number.POSITIVE_INFINITY;
	const logins = Array.from({ length: 2 }, async () => {
		const { status } = await client.send(`${replica.url}/login`, { fields });
		return { status, afterMs: performance.now() - frozenMs };
	});
	await sleep(100);
	database.freeze();
	frozenMs = performance.now();
	const answers = await Promise.all(logins);
	progress(answers.map(({ status, afterMs }) => `${status} after ${afterMs.toFixed(0)} ms`).join(", "));
	t.ok(
		answers.every(({ status }) => status === 503),
		"both were under way",
	);
	// One wait of 1.9 s and what was left of two hashes; a second wait would make it a second more at least.
	t.ok(
		answers.every(({ afterMs }) => afterMs < 2300 + 2 * loginMs),
		"neither waited for it twice",
	);
	database.thaw();
});

for (const [title, cause] of [
	[
		"Z07, fault 5: a frozen database costs no request more than 2 s, nothing piles up, and all is well when it wakes",
		"frozen",
	],
	["Fault 8: a network that swallows everything costs as little, and is forgotten when it ends", "swallowed"],
] as const)
	t.test(title, needs("haproxy"), async (t) => {
		const database = await startDatabase(t);
		const proxy = await openProxy(t, database.port);
		const replicas = await startReplicas(t, database.url.replace(`:${database.port}`, `:${proxy.port}`), { count: 2 });
		const { url } = await startBalancer(
			t,
			replicas.map(({ port }) => port),
		);
		const client = createClient();
		t.teardown(client.close);
		const pair = await client.login(url, "root");
		const before = replicas.map(holds);

		if (cause === "frozen") database.freeze();
		else proxy.line.swallows = true;
		keepsItsPromises(t, await watch(url, "root", pair, seconds));
		for (const [index, replica] of replicas.entries()) {
			const { megabytes = 0, files = 0 } = before[index] ?? {};
			const now = holds(replica);
			progress(`replica ${index}: ${JSON.stringify(before[index])} before, ${JSON.stringify(now)} after`);
			t.ok(now.megabytes - megabytes < 64, "its memory stays flat");
			t.ok(now.files - files < 40, "its sockets do not pile up");
		}

		if (cause === "frozen") database.thaw();
		else proxy.line.swallows = false;
		const recoveredMs = await untilLogin(url, "root");
		progress(`the first login ${recoveredMs.toFixed(0)} ms after it was over`);
		t.ok(recoveredMs <= 5000, "a login works within 5 s");
		const again = await client.send(`${url}/refresh`, { fields: { refresh_token: pair.refresh_token } });
		t.equal(again.status, 200, "the session goes on");
		for (const { server } of replicas) t.equal(server.child.exitCode, null, "it was not restarted");
	});
