/** Real sockets against a listening application: rows H01 to H04, H06 to H09, H17, L07, B05, and clients that hang up. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { goodPassword, type TestApp, testApp } from "../support/app.ts";

const host = "Host: localhost\r\n";
const formType = "Content-Type: application/x-www-form-urlencoded\r\n";
const fields = `username=root&password=${goodPassword.replaceAll(" ", "+")}`;
const post = `POST /login HTTP/1.1\r\n${host}${formType}`;
const chunk = `${fields.length.toString(16)}\r\n${fields}\r\n0\r\n\r\n`;
/** What an attacker hides behind a request: it must never be answered. */
const hidden = `GET /livez HTTP/1.1\r\n${host}\r\n`;

async function listen({ app }: TestApp): Promise<number> {
	await app.listen({ host: "127.0.0.1", port: 0 });
	return (app.server.address() as AddressInfo).port;
}

interface Exchange {
	text: string;
	/** The server ended the connection, without being asked to. */
	closed: boolean;
	tookMs: number;
}

/** Sends bytes, and collects what comes back until the server closes or `patienceMs` have passed. */
async function exchange(port: number, bytes: string, patienceMs = 3000): Promise<Exchange> {
	const began = performance.now();
	const socket = connect(port, "127.0.0.1");
	let text = "";
	socket.on("data", (data) => {
		text += data.toString("latin1");
	});
	socket.on("error", () => {});
	const closing = once(socket, "close").then(() => true);
	socket.write(bytes, "latin1");
	const patience = new AbortController();
	const closed = await Promise.race([closing, sleep(patienceMs, false, { signal: patience.signal })]);
	patience.abort();
	socket.destroy();
	return { text, closed, tookMs: performance.now() - began };
}

/** One whole refusal in the house's shape, with the standard headers, and nothing after it. */
function refusal(t: Test, { text, closed }: Exchange, statusCode: number, what: string): void {
	const [head = "", body = ""] = text.split("\r\n\r\n");
	t.match(head, new RegExp(`^HTTP/1\\.1 ${statusCode} `), what);
	t.equal(text.match(/HTTP\/1\.1 /g)?.length, 1, `${what}: one answer`);
	t.equal(closed, true, `${what}: the connection is closed`);
	t.match(JSON.parse(body || "null"), { statusCode, code: /^[A-Z_]+$/, error: String, message: String }, what);
	t.match(head, /\r\ncontent-type: application\/json; charset=utf-8/i, `H09: ${what}`);
	t.match(head, /\r\nx-request-id: [\w.-]+/i, `H07: ${what}`);
	for (const header of [
		/\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'/i,
		/\r\nx-content-type-options: nosniff/i,
		/\r\nreferrer-policy: no-referrer/i,
		/\r\nstrict-transport-security: max-age=/i,
		/\r\ncache-control: no-store/i,
	])
		t.match(head, header, `H08: ${what}`);
}

/** Waits for a state that an event of another process or thread brings about. */
async function until(state: () => boolean): Promise<void> {
	for (let turn = 0; !state(); turn++) {
		if (turn > 500) throw new Error("it did not come to that");
		await sleep(10);
	}
}

t.test("sockets", async (t) => {
	const house = await testApp(t);
	const port = await listen(house);
	const { services } = house;

	await t.test("a whole request is answered, and the connection stays for the next", async (t) => {
		const [length, chunked, two] = await Promise.all([
			exchange(port, `${post}Content-Length: ${fields.length}\r\n\r\n${fields}`, 2500),
			exchange(port, `${post}Transfer-Encoding: chunked\r\n\r\n${chunk}`, 2500),
			exchange(port, hidden + hidden, 2500),
		]);
		for (const { text, closed } of [length, chunked]) {
			t.match(text, /^HTTP\/1\.1 200 OK/);
			t.match(text, /"access_token"/);
			t.equal(closed, false);
		}
		t.equal(two.text.match(/HTTP\/1\.1 200 OK/g)?.length, 2, "so that a hidden request would be seen here");
	});

	await t.test("H01: what two readers could frame differently is 400, and the connection is closed", async (t) => {
		const length = `Content-Length: ${fields.length}\r\n`;
		const cases: Record<string, string> = {
			"Transfer-Encoding and Content-Length": `${post}${length}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
			"the other way round": `${post}Transfer-Encoding: chunked\r\n${length}\r\n0\r\n\r\n${hidden}`,
			"two Content-Lengths": `${post}${length}Content-Length: 5\r\n\r\n${fields}${hidden}`,
			"two equal Content-Lengths": `${post}${length}${length}\r\n${fields}${hidden}`,
			"a list of Content-Lengths": `${post}Content-Length: 5, 5\r\n\r\nabcde${hidden}`,
			"a signed Content-Length": `${post}Content-Length: +5\r\n\r\nabcde${hidden}`,
			"a hexadecimal Content-Length": `${post}Content-Length: 0x5\r\n\r\nabcde${hidden}`,
			"a negative Content-Length": `${post}Content-Length: -1\r\n\r\n${hidden}`,
			"a list of codings": `${post}Transfer-Encoding: gzip, chunked\r\n\r\n${chunk}${hidden}`,
			"chunked not last": `${post}Transfer-Encoding: chunked, gzip\r\n\r\n${chunk}${hidden}`,
			"chunked twice": `${post}Transfer-Encoding: chunked, chunked\r\n\r\n${chunk}${hidden}`,
			"two Transfer-Encodings": `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n${chunk}${hidden}`,
			"an unknown coding": `${post}Transfer-Encoding: xchunked\r\n\r\n${chunk}${hidden}`,
			identity: `${post}Transfer-Encoding: identity\r\n\r\n${hidden}`,
			"a space before the colon": `${post}Transfer-Encoding : chunked\r\n\r\n${chunk}${hidden}`,
			"a coding in HTTP/1.0": `${post.replace("1.1", "1.0")}Transfer-Encoding: chunked\r\n\r\n${chunk}${hidden}`,
			"bare LF": `GET /livez HTTP/1.1\nHost: localhost\n\n`,
			"bare LF after a header": `GET /livez HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n`,
			"bare LF in a chunk": `${post}Transfer-Encoding: chunked\r\n\r\n${chunk.replaceAll("\r\n", "\n")}`,
			"bare CR": `GET /livez HTTP/1.1\r\nHost: localhost\rX-A: b\r\n\r\n`,
			"obs-fold": `GET /livez HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`,
			"obs-fold in Transfer-Encoding": `${post}Transfer-Encoding:\r\n chunked\r\n\r\n${chunk}${hidden}`,
			"a chunk extension of 20 KB": `${post}Transfer-Encoding: chunked\r\n\r\n5;${"a".repeat(20_000)}\r\nabcde\r\n0\r\n\r\n`,
			"a chunk that is longer than it says": `${post}Transfer-Encoding: chunked\r\n\r\n1\r\nabcde\r\n0\r\n\r\n`,
			"a chunk length that is none": `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\nabcde\r\n0\r\n\r\n`,
			"NUL in a header": `GET /livez HTTP/1.1\r\n${host}X-A: a\0b\r\n\r\n`,
			"an invalid header name": `GET /livez HTTP/1.1\r\n${host}X A: b\r\n\r\n`,
			"an unknown version": `GET /livez HTTP/1.9\r\n${host}\r\n`,
			"HTTP/2 without being asked": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"an unknown method": `FOO /livez HTTP/1.1\r\n${host}\r\n`,
			"bytes in the path": `GET /\u00ff HTTP/1.1\r\n${host}\r\n`,
			nonsense: "nonsense\r\n\r\n",
		};
		const before = services.passwords.stats().work;
		await Promise.all(
			Object.entries(cases).map(async ([what, bytes]) => refusal(t, await exchange(port, bytes), 400, what)),
		);
		t.strictSame(services.passwords.stats().work, before, "none was read as a login");
	});

	await t.test("H02: one host, and only as a header", async (t) => {
		const last = "Connection: close\r\n\r\n";
		const cases: Record<string, string> = {
			"two Hosts": `GET /livez HTTP/1.1\r\n${host}Host: evil\r\n${last}`,
			"two equal Hosts": `GET /livez HTTP/1.1\r\n${host}${host}${last}`,
			"no Host": `GET /livez HTTP/1.1\r\n${last}`,
			"an absolute target": `GET http://evil/livez HTTP/1.1\r\n${host}${last}`,
			"an absolute target of our own": `GET http://localhost/livez HTTP/1.1\r\n${host}${last}`,
			"the target *": `OPTIONS * HTTP/1.1\r\n${host}${last}`,
			"a target without a slash": `GET livez HTTP/1.1\r\n${host}${last}`,
		};
		await Promise.all(
			Object.entries(cases).map(async ([what, bytes]) => refusal(t, await exchange(port, bytes), 400, what)),
		);
	});

	await t.test("B05: of two Authorization headers neither counts, in either order", async (t) => {
		const good = `Authorization: Bearer ${await house.tokenFor("root")}\r\n`;
		const bad = "authorization: Bearer x\r\n";
		const last = "Connection: close\r\n\r\n";
		for (const pair of [good + bad, bad + good, good + good])
			refusal(t, await exchange(port, `GET /me HTTP/1.1\r\n${host}${pair}${last}`), 400, "two Authorizations");
		t.match((await exchange(port, `GET /me HTTP/1.1\r\n${host}${good}${last}`)).text, /^HTTP\/1\.1 200 OK/);
	});

	await t.test("H04: header bytes and header count are limited", async (t) => {
		const get = `GET /livez HTTP/1.1\r\n${host}`;
		const cases: Record<string, string> = {
			"17 KB in one header": `${get}X-A: ${"a".repeat(17 * 1024)}\r\n\r\n`,
			"17 KB in many": `${get}${`X-A: ${"a".repeat(995)}\r\n`.repeat(17)}\r\n`,
			"17 KB of path": `GET /${"a".repeat(17 * 1024)} HTTP/1.1\r\n${host}\r\n`,
			"3,000 headers": `${get}${"a:b\r\n".repeat(3000)}\r\n`,
			"a second Host behind 150 headers": `${get}${"a:b\r\n".repeat(150)}Host: evil\r\n\r\n`,
		};
		await Promise.all(
			Object.entries(cases).map(async ([what, bytes]) => refusal(t, await exchange(port, bytes), 431, what)),
		);
		const fits = await exchange(port, `${get}X-A: ${"a".repeat(15 * 1024)}\r\nConnection: close\r\n\r\n`);
		t.match(fits.text, /^HTTP\/1\.1 200 OK/, "15 KB fit");
	});

	await t.test(
		"H06, H08: TRACE, CONNECT, upgrades and unknown expectations get an answer of ours, or none of theirs",
		async (t) => {
			const last = "Connection: close\r\n\r\n";
			refusal(t, await exchange(port, `TRACE /livez HTTP/1.1\r\n${host}X-Secret: s3cret\r\n${last}`), 405, "TRACE");
			refusal(t, await exchange(port, `CONNECT evil.example:443 HTTP/1.1\r\n${host}\r\n`), 404, "CONNECT");
			refusal(t, await exchange(port, `PATCH /login HTTP/1.1\r\n${host}${last}`), 405, "PATCH");
			refusal(t, await exchange(port, `PROPFIND / HTTP/1.1\r\n${host}${last}`), 404, "PROPFIND");
			const upgrade = `GET /livez HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n`;
			t.match((await exchange(port, upgrade)).text, /^HTTP\/1\.1 200 OK/, "an upgrade is ignored");
			const expect = `GET /nothing HTTP/1.1\r\n${host}Expect: nonsense\r\n${last}`;
			refusal(t, await exchange(port, expect), 404, "an unknown expectation");
		},
	);

	await t.test("H17: broken and long paths", async (t) => {
		const paths = { "/%zz": 400, "/%": 400, "/%00": 404, [`/${"a".repeat(10_240)}`]: 404 };
		for (const [path, statusCode] of Object.entries(paths)) {
			const bytes = `GET ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
			refusal(t, await exchange(port, bytes), statusCode, path.slice(0, 10));
		}
	});

	await t.test("L07: a body without a length is cut at 16 KB, one that says it is longer is not awaited", async (t) => {
		const endless = `400\r\n${"a".repeat(1024)}\r\n`.repeat(17);
		refusal(t, await exchange(port, `${post}Transfer-Encoding: chunked\r\n\r\n${endless}`), 413, "chunked, no end");
		refusal(t, await exchange(port, `${post}Content-Length: 16385\r\n\r\n`), 413, "announced, not sent");
	});

	await t.test("after all that the service is well", async (t) => {
		t.equal((await house.login("root")).statusCode, 200);
	});
});

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
	const [headers, line, body, chunked] = await Promise.all([
		drip(port, `GET /livez HTTP/1.1\r\n${host}X-A: `, "a"),
		drip(port, "GET /", "a"),
		drip(port, `${post}Content-Length: 1000\r\n\r\n`, "a"),
		drip(port, `${post}Transfer-Encoding: chunked\r\n\r\n`, "1\r\na\r\n"),
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
	t.ok(performance.now() - began < 20_000);
	t.equal(house.services.passwords.stats().work.verify, 0, "none was read as a login");
});

t.test("a client that hangs up while its login waits frees its place", async (t) => {
	const house = await testApp(t, { settings: { HASH_THREADS: "1", HASH_COST: "12" } });
	const port = await listen(house);
	const { passwords } = house.services;
	const bytes = `${post}Content-Length: ${fields.length}\r\n\r\n${fields}`;
	const sockets = Array.from({ length: 6 }, () => connect(port, "127.0.0.1"));
	for (const socket of sockets) socket.on("error", () => {}).write(bytes);
	await until(() => passwords.stats().waiting === 5);
	for (const socket of sockets) socket.destroy();
	await until(() => passwords.stats().waiting === 0);
	t.equal(passwords.stats().work.verify, 0, "the first hash still runs: the others left without one");
	await until(() => passwords.stats().running === 0);
	t.ok(passwords.stats().work.verify <= 1, "and what ran ends in peace");
	t.equal((await house.login("root")).statusCode, 200);
	t.equal(house.logged.filter(({ level }) => Number(level) >= 50).length, 0, "nobody calls that a fault");
	t.equal(house.logged.filter(({ msg }) => msg === "logged in").length, 1, "nobody was logged in who did not wait");
});
