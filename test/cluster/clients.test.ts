/** Clients that leave in the middle, and a balancer that delivers a request twice. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { rootAccount, type TokenPair } from "../support/process.ts";
import { progress, rounds } from "../support/rounds.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { untilLogin } from "./support/outage.ts";
import { needs } from "./support/packages.ts";
import { addUsers, startReplicas } from "./support/replicas.ts";

const password = rootAccount.BOOTSTRAP_PASSWORD;

t.test(
	"Fault 30: clients that leave after the head, in the body or before the answer leave nothing behind",
	needs("haproxy"),
	async (t) => {
		const database = await startDatabase(t);
		// A client that leaves has used its try (test/throttle/limits.test.ts): with the limits on, the first few would keep the
		// others from ever reaching a hash.
		const replicas = await startReplicas(t, database.url, { count: 2, settings: { LOGIN_LIMITS: "off" } });
		const balancer = await startBalancer(
			t,
			replicas.map(({ port }) => port),
		);
		await addUsers(database, 1);
		const body = new URLSearchParams({ username: "user0", password }).toString();
		const head = `POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n`;
		/** Sends so much of a login, waits, and resets the connection. */
		const leave = async (port: number, bytes: string, afterMs: number) => {
			const socket = connect(port, "127.0.0.1").on("error", () => {});
			socket.write(bytes);
			await sleep(afterMs);
			socket.resetAndDestroy();
		};
		const times = rounds(1000);
		let whole = 0;
		const ports = [balancer.port, ...replicas.map(({ port }) => port)];
		for (let index = 0; index < times; index++) {
			const port = ports[index % ports.length] ?? 0;
			const bytes = [head, head + body.slice(0, 20), head + body][Math.floor(index / ports.length) % 3] ?? "";
			if (bytes.length === head.length + body.length) whole++;
			await leave(port, bytes, Math.random() * 40);
		}
		const client = createClient();
		t.teardown(client.close);
		const recoveredMs = await untilLogin(balancer.url, "user0");
		t.ok(recoveredMs < 3000, `the hashes of those who left are not waited for: ${recoveredMs.toFixed(0)} ms`);
		const [row] = await database.query(
			"select count(*) as sessions from sessions join users on users.id = user_id where username = 'user0'",
		);
		progress(`${times} clients left, ${whole} of them after the whole request; ${row?.sessions} sessions`);
		t.ok(Number(row?.sessions) <= whole + 1, "a login that was sent whole has one session or none");
		for (const { server } of replicas) {
			t.equal(server.child.exitCode, null, "no process ended");
			const faults = server
				.logged()
				.filter(({ level }) => Number(level) >= 50 || level === "error" || level === "fatal");
			t.same(faults, [], "no error was logged: it is nobody's fault");
		}
	},
);

t.test(
	"Fault 31: a request that is delivered twice, to two replicas, has one effect and the same answer",
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url, { count: 2 });
		const client = createClient();
		t.teardown(client.close);
		await addUsers(database, 1);
		const urls = replicas.map(({ url }) => url);
		const [a = ""] = urls;
		/** At the same moment, and once more a little later. */
		const twice = async (path: string, sending: Parameters<typeof client.send>[1]) => {
			const first = await Promise.all(urls.map((url) => client.send(`${url}${path}`, sending)));
			return [...first, ...(await Promise.all(urls.map((url) => client.send(`${url}${path}`, sending))))];
		};
		for (let round = 0; round < rounds(50); round++) {
			const pair = await client.login(a, "user0");
			const refreshed = await twice("/refresh", { fields: { refresh_token: pair.refresh_token } });
			t.same(
				refreshed.map(({ status }) => status),
				[200, 200, 200, 200],
				"a refresh: within the grace each is answered",
			);
			const tokens = new Set(refreshed.map((answer) => answer.json<TokenPair>().refresh_token));
			t.equal(tokens.size, 1, "with the same successor");
			const { access_token: token, refresh_token } = (refreshed[0] as (typeof refreshed)[0]).json<TokenPair>();

			// Of another session, so that the one that asks lives on.
			const other = await client.login(a, "user0");
			const revoked = await twice("/revoke", { token, fields: { token: other.refresh_token } });
			t.same(
				revoked.map(({ status }) => status),
				[200, 200, 200, 200],
				"a revocation is 200 each time (RFC 7009)",
			);

			const ended = await twice("/logout", { fields: { refresh_token } });
			// The session is over: whoever comes second has no credential any more, and changes nothing.
			t.ok(
				ended.some(({ status }) => status === 204),
				"a logout",
			);
			t.same(
				ended.filter(({ status }) => status !== 204 && status !== 401),
				[],
				"is done, or done already",
			);
			t.same(
				(await Promise.all(urls.map((url) => client.send(`${url}/refresh`, { fields: { refresh_token } })))).map(
					({ status }) => status,
				),
				[401, 401],
			);
		}
	},
);
