/** Bytes over real sockets to a listening application: rows H01, H02, H04, H06, H08, H17, L07 and B05. */
import t from "tap";
import { testApp } from "../support/app.ts";
import { exchange, fields, host, listen, post, refusal } from "../support/sockets.ts";

const chunk = `${fields.length.toString(16)}\r\n${fields}\r\n0\r\n\r\n`;
/** What an attacker hides behind a request: it must never be answered. */
const hidden = `GET /livez HTTP/1.1\r\n${host}\r\n`;

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
