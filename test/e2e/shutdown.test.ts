/** Ends of the real process: what a load balancer, clients, npm and a person at the keyboard see of them. */
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { environment, launchServer, rootAccount, start, startServer, testSecret } from "../support/process.ts";
import { openStoreLocation, temporaryFolder } from "../support/stores.ts";

const settings = (t: Test, more: Record<string, string> = {}) => ({
	DATA_DIR: temporaryFolder(t),
	...rootAccount,
	...more,
});

/** One GET; without an agent over a connection of its own. */
async function get(url: string, agent: Agent | false = false) {
	const sent = request(url, { agent }).end();
	const [answer] = await once(sent, "response");
	return { status: answer.statusCode, connection: answer.headers.connection, body: await text(answer) };
}

const isRefused = (url: string): Promise<boolean> =>
	get(url).then(
		() => false,
		(error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED",
	);

async function open(url: string): Promise<Socket> {
	const { hostname, port } = new URL(url);
	const socket = connect(Number(port), hostname).on("error", () => {});
	await once(socket, "connect");
	return socket;
}

t.test(
	"Z02: SIGTERM turns readiness off at once, service goes on for DRAIN_SECONDS, then it ends with 0",
	async (t) => {
		const server = await startServer(t, settings(t, { DRAIN_SECONDS: "2" }));
		const token = await server.tokenFor("root");
		t.equal((await get(`${server.url}/readyz`)).status, 200);
		const began = performance.now();
		server.signal("SIGTERM");
		await server.until(/"draining"/);
		t.match(await get(`${server.url}/readyz`), { status: 503, connection: "close", body: /draining/ });
		t.ok(performance.now() - began < 1500, "readiness goes off long before the drain time is over");
		t.match(await get(`${server.url}/livez`), { status: 200, connection: "close" }, "new connections are served");
		t.equal((await server.login("root")).status, 200, "logins go on");
		t.equal((await server.get("/protected", token)).status, 200, "verification goes on");
		while (performance.now() - began < 1700) {
			t.equal((await get(`${server.url}/livez`)).status, 200);
			await sleep(100);
		}
		const { code, signal, stderr } = await server.ended;
		const tookMs = performance.now() - began;
		t.same({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
		t.ok(tookMs >= 1900 && tookMs < 12_000, `it ended after ${Math.round(tookMs)} ms`);
		t.ok(await isRefused(server.url), "nobody listens any more");
		t.match(server.logged().at(-1), { msg: "ended" });
	},
);

t.test(
	"Z03: logins in flight at SIGTERM are answered 200 with Connection: close, new connections are refused",
	async (t) => {
		const server = await startServer(t, settings(t, { DRAIN_SECONDS: "0", HASH_COST: "11", HASH_THREADS: "1" }));
		const body = new URLSearchParams({ username: "root", password: goodPassword }).toString();
		const logins = await Promise.all(
			[1, 2, 3, 4].map(async () => {
				const socket = await open(server.url);
				const head = ["POST /login HTTP/1.1", "Host: localhost", "Content-Type: application/x-www-form-urlencoded"];
				socket.write(`${head.join("\r\n")}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`);
				const [interim] = await once(socket, "data");
				t.match(String(interim), /^HTTP\/1.1 100 /, "the request is in flight");
				socket.write(body);
				// In an object, because a promise would be waited for right here.
				return { answer: text(socket) };
			}),
		);
		server.signal("SIGTERM");
		await server.until(/"draining"/);
		let refused = false;
		const watch = (async () => {
			while (!refused) {
				refused = await isRefused(server.url);
				await sleep(20);
			}
			return performance.now();
		})();
		for (const answer of await Promise.all(logins.map(({ answer }) => answer))) {
			t.match(answer, /^HTTP\/1.1 200 OK/);
			t.match(answer, /^connection: close\r$/im);
			t.match(answer, /"access_token":"/);
		}
		const answered = performance.now();
		t.ok((await watch) < answered, "new connections were refused while the logins were still worked on");
		t.equal((await server.ended).code, 0);
	},
);

t.test("Z04: 200 idle keep-alive connections and a busy one do not hold the end, and nobody is cut off", async (t) => {
	const server = await startServer(t, settings(t, { DRAIN_SECONDS: "1" }));
	const token = await server.tokenFor("root");
	const idle = await Promise.all(
		Array.from({ length: 200 }, async () => {
			const socket = await open(server.url);
			socket.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
			await once(socket, "data");
			return socket;
		}),
	);
	const untouched = await open(server.url);
	const agent = new Agent({ keepAlive: true, maxSockets: 1 });
	t.teardown(() => {
		agent.destroy();
		for (const socket of [...idle, untouched]) socket.destroy();
	});
	let served = 0;
	const failures: string[] = [];
	const busy = (async () => {
		for (;;) {
			const sent = request(`${server.url}/protected`, { agent, headers: { authorization: `Bearer ${token}` } }).end();
			try {
				const [answer] = await once(sent, "response");
				await text(answer);
				if (answer.statusCode !== 200) failures.push(String(answer.statusCode));
				served++;
			} catch (error) {
				// The listener is gone: a connection that the system still took, but the process no more, is reset.
				const { code = "" } = error as NodeJS.ErrnoException;
				t.ok(["ECONNREFUSED", "ECONNRESET"].includes(code), `in the end a new connection meets ${code}`);
				return performance.now();
			}
		}
	})();
	const began = performance.now();
	server.signal("SIGTERM");
	const { code } = await server.ended;
	t.equal(code, 0);
	t.ok((await busy) - began >= 990, "the busy client was served for the whole drain time");
	t.ok(performance.now() - began < 6000, `it ended after ${Math.round(performance.now() - began)} ms`);
	t.ok(served > 10, `${served} requests were served meanwhile`);
	t.same(failures, [], "each of them with 200");
});

t.test("SIGINT ends at once, whatever DRAIN_SECONDS says and idle clients hold", async (t) => {
	const server = await startServer(t, settings(t, { DRAIN_SECONDS: "60" }));
	const idle = await open(server.url);
	t.teardown(() => idle.destroy());
	const began = performance.now();
	server.signal("SIGINT");
	t.match(await server.ended, { code: 0, signal: null });
	t.ok(performance.now() - began < 3000);
});

t.test("two signals at once are one, a later one ends by force", async (t) => {
	const server = await startServer(t, settings(t, { DRAIN_SECONDS: "60" }));
	server.signal("SIGTERM");
	await server.until(/"draining"/);
	server.signal("SIGTERM");
	await sleep(1200);
	t.equal((await get(`${server.url}/livez`)).status, 200, "it still drains");
	server.signal("SIGTERM");
	t.equal((await server.ended).code, 1);
});

for (const [whom, to] of [
	["npm alone", (pid: number) => pid],
	["the process group of npm", (pid: number) => -pid],
] as const)
	t.test(`SIGTERM to ${whom} drains and ends the service that npm start has started`, async (t) => {
		const env = { ...environment(settings(t, { DRAIN_SECONDS: "1" })), npm_config_update_notifier: "false" };
		const npm = start(t, "npm", ["start"], { env, detached: true });
		t.teardown(() => {
			try {
				process.kill(-npm.pid, "SIGKILL");
			} catch {
				// The whole group has ended, as it should.
			}
		});
		await npm.until(/Gatehouse is ready/);
		process.kill(to(npm.pid), "SIGTERM");
		await npm.ended;
		// To the group it arrives twice, from here and from npm: that is no impatience.
		t.match(npm.logged().slice(-2), [{ msg: "draining", drainSeconds: 1 }, { msg: "ended" }]);
	});

t.test("a signal while the process starts ends it at once", async (t) => {
	const silent = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
	await once(silent, "listening");
	t.teardown(() => silent.close());
	const { port } = silent.address() as { port: number };
	const databaseUrl = `postgres://gatehouse:gatehouse@127.0.0.1:${port}/gatehouse`;
	const server = launchServer(t, { DATABASE_URL: databaseUrl, SECRET: testSecret });
	await once(silent, "connection");
	server.signal("SIGTERM");
	t.match(await server.ended, { code: 0, signal: null, stderr: "" });
});

t.test("a database that hangs does not hold the end", async (t) => {
	const { databaseUrl = "" } = await openStoreLocation(t, "postgres");
	const real = new URL(databaseUrl);
	const { hostname, port } = real;
	const pairs: Socket[] = [];
	const proxy = createServer((client) => {
		const database = connect(Number(port), hostname);
		for (const socket of [client, database]) pairs.push(socket.on("error", () => {}));
		client.pipe(database).pipe(client);
	}).listen(0, "127.0.0.1");
	await once(proxy, "listening");
	t.teardown(() => {
		proxy.close();
		for (const socket of pairs) socket.destroy();
	});
	real.port = String((proxy.address() as { port: number }).port);
	const server = await startServer(t, {
		DATABASE_URL: real.href,
		SECRET: testSecret,
		DRAIN_SECONDS: "0",
		...rootAccount,
	});
	for (const socket of pairs) socket.unpipe().pause();
	const began = performance.now();
	server.signal("SIGTERM");
	const { signal } = await server.ended;
	t.equal(signal, null, "it ended by itself");
	t.ok(performance.now() - began < 8000, `after ${Math.round(performance.now() - began)} ms`);
});
