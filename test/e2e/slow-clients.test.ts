/** Clients that send slowly, or leave before they have their answer: row H03. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { testApp } from "../support/app.ts";
import {
	abandon,
	type Exchange,
	exchange,
	fields,
	host,
	listen,
	noConnection,
	post,
	refusal,
} from "../support/sockets.ts";
import { until } from "../support/until.ts";

/** Writes one byte every half second, and answers what came back when the server had enough. */
async function drip(port: number, first: string, bytes: string): Promise<Exchange> {
	const began = performance.now();
	const socket: Socket = connect(port, "127.0.0.1");
	let text = "";
	let sent = 0;
	socket.on("data", (data) => {
		text += data.toString("latin1");
	});
	socket.on("error", () => {});
	socket.write(first, "latin1");
	const timer = setInterval(() => {
		if (socket.writable) socket.write(bytes[sent++ % bytes.length] as string);
	}, 500);
	await once(socket, "close");
	clearInterval(timer);
	return { text, closed: true, tookMs: performance.now() - began };
}

t.test("H03: slow headers and a slow body are cut with 408, and nobody else waits", async (t) => {
	const house = await testApp(t);
	const port = await listen(house);
	const began = performance.now();
	const silent = await abandon(t, port, `GET /livez HTTP/1.1\r\n${host}X-A: `);
	const [headers, line, body, chunked, answer] = await Promise.all([
		drip(port, `GET /livez HTTP/1.1\r\n${host}X-A: `, "a"),
		drip(port, "GET /", "a"),
		drip(port, `${post}Content-Length: 1000\r\n\r\n`, "a"),
		drip(port, `${post}Transfer-Encoding: chunked\r\n\r\n`, "1\r\na\r\n"),
		silent.answer(),
		(async () => {
			await sleep(1000);
			const { text, tookMs } = await exchange(port, `GET /livez HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
			t.match(text, /^HTTP\/1\.1 200 OK/);
			t.ok(tookMs < 2000, "others are answered at once");
		})(),
	]);
	const about = (exchange: Exchange, seconds: number, what: string) => {
		refusal(t, exchange, 408, what);
		const took = exchange.tookMs / 1000;
		t.ok(took >= seconds - 0.5 && took <= seconds + 2, `${what}: after ${took.toFixed(1)} s`);
	};
	about(headers, 10, "slow headers");
	about(line, 10, "a slow request line");
	about(body, 15, "a slow body");
	about(chunked, 15, "a slow body in chunks");
	t.match(answer, /^HTTP\/1\.1 408 /, "a client that sends nothing more and never closes");
	t.equal(silent.socket.writable, true);
	await noConnection(house);
	t.ok(performance.now() - began < 20_000, "all of their connections are gone");
	t.equal(house.services.passwords.stats().work.verify, 0, "none was read as a login");
});

t.test("a client that hangs up while its login waits frees its place", async (t) => {
	const house = await testApp(t, { settings: { HASH_THREADS: "1", HASH_COST: "12" } });
	const port = await listen(house);
	const { passwords } = house.services;
	const bytes = `${post}Content-Length: ${fields.length}\r\n\r\n${fields}`;
	const sockets = Array.from({ length: 6 }, () => connect(port, "127.0.0.1"));
	for (const socket of sockets) socket.on("error", () => {}).write(bytes);
	// The first hash takes a quarter of a second, and what comes next must be seen before its end.
	await until("five wait", () => passwords.stats().waiting === 5, { everyMs: 10 });
	for (const socket of sockets) socket.destroy();
	await until("none waits", () => passwords.stats().waiting === 0, { everyMs: 10 });
	t.equal(passwords.stats().work.verify, 0, "the first hash still runs: the others left without one");
	await until("none runs", () => passwords.stats().running === 0);
	t.ok(passwords.stats().work.verify <= 1, "and what ran ends in peace");
	t.equal((await house.login("root")).statusCode, 200);
	t.equal(house.logged.filter(({ level }) => Number(level) >= 50).length, 0, "nobody calls that a fault");
	t.equal(house.logged.filter(({ msg }) => msg === "logged in").length, 1, "nobody was logged in who did not wait");
	const left = house.logged.filter(({ msg }) => msg === "the client went away");
	t.equal(left.length, 6, "each is a line of its own");
	for (const line of left) t.match(line, { level: 30, route: "/login" });
});

t.test("H03: whoever has left before anything waited for it is known to have left", async (t) => {
	let left: boolean | undefined;
	const house = await testApp(t, {
		extend(app) {
			app.get("/leave", { config: { access: "public" } }, async (request, reply) => {
				request.raw.socket.destroy();
				await once(reply.raw, "close");
				left = reply.hungUp().aborted;
				return {};
			});
		},
	});
	const port = await listen(house);
	await exchange(port, `GET /leave HTTP/1.1\r\n${host}\r\n`);
	await until("it was answered", () => left !== undefined);
	t.equal(left, true);
});
