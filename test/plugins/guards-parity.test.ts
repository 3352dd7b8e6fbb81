/**
 * What flask-jwt-extended does, row by row (docs/flask-jwt-extended.md), where no other test shows it: what a token says,
 * where it may come, in which order it is checked, and what a handler can read.
 */
import t from "tap";
import type { App } from "../../src/app.ts";
import { loadConfig } from "../../src/config/config.ts";
import { errors } from "../../src/errors.ts";
import { form, goodPassword, testApp } from "../support/app.ts";
import { decode, segments } from "../support/forgery.ts";
import { beginSession } from "../support/sessions.ts";

interface Pair {
	access_token: string;
	refresh_token: string;
	expires_in: number;
	refresh_expires_in: number;
}
type Headers = Record<string, string>;

let reached = 0;
let asked = 0;
const extend = (app: App) => {
	const { authenticate } = app;
	const authenticated = { access: "authenticated" };
	const schema = { consumes: ["application/x-www-form-urlencoded", "application/json"] };
	const handler = async () => ({ reached: ++reached });
	app.addTokenCheck(() => {
		asked++;
		return true;
	});
	app.get("/who", { config: authenticated, preHandler: authenticate }, async (request) => ({
		...request.principal,
		location: request.tokenLocation,
		found: request.findPrincipal() === request.principal,
	}));
	app.post("/read", { config: { access: "public" }, schema }, async (request) =>
		app.verifyAccessToken((request.body as { token: string }).token),
	);
	app.get("/nobody", { config: { access: "public" } }, async (request) => [
		request.findPrincipal() ?? null,
		request.tokenLocation,
	]);
	app.post("/change", { config: authenticated, preHandler: authenticate, schema }, handler);
	const locations = ["form"] as const;
	app.post("/form", { config: authenticated, preHandler: app.requires({ locations }), schema }, handler);
	app.post("/form-refresh", {
		config: authenticated,
		preHandler: app.requires({ locations, kind: "refresh" }),
		schema,
		handler,
	});
	app.get("/cookie-refresh", { config: authenticated, preHandler: app.requires({ kind: "refresh" }) }, handler);
	const write = ["users:write"];
	app.post("/last", {
		config: { access: "users:write" },
		preHandler: app.requires({ permissions: write, fresh: true }),
		schema,
		handler,
	});
	app.get("/admin", {
		config: authenticated,
		preHandler: [
			authenticate,
			async ({ principal }) => {
				if (!principal.roles.includes("admin")) throw new errors.INSUFFICIENT_PERMISSIONS();
			},
		],
		handler,
	});
};

const house = await testApp(t, { extend, settings: { TOKEN_LOCATIONS: "header,cookie" } });
const { app, get, mint, login, clock } = house;
const id = await house.addUser("ada");
const { id: rootId } = await house.services.users.getByName("root");
const good = house.claims(id);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const post = (url: string, fields: Record<string, string> = {}, headers: Headers = {}) => {
	const { payload, headers: own } = form(fields);
	return app.inject({ method: "POST", url, payload, headers: { ...own, ...headers } });
};
/** The tokens of a session that began as a login begins one, but for the hash: that a login gives the same is T1's to show. */
const pairOf = async (userId: string) => {
	const { access, refresh } = await beginSession(house, userId);
	return { access_token: access, refresh_token: refresh };
};
const pair = () => pairOf(id);
const codeOf = (answer: { statusCode: number; json(): { code?: string } }) =>
	answer.statusCode < 400 ? answer.statusCode : answer.json().code;

/** The cookies of such a session, as a browser sends them. */
async function cookies() {
	const session = await beginSession(house, id);
	const access = `__Host-access=${session.access}`;
	const refresh = `__Host-refresh=${session.refresh}`;
	return { cookie: `${access}; ${refresh}`, access, refresh, csrf: house.services.csrf.valueFor(session.id) };
}

/** A browser's cookies after a login. */
async function cookiesOfLogin() {
	const answer = await post("/login", { username: "ada", password: goodPassword, delivery: "cookie" });
	const set = answer.cookies as { name: string; value: string }[];
	const value = (name: string) => set.find((one) => one.name === name)?.value ?? "";
	return {
		set: [answer.headers["set-cookie"] ?? []].flat(),
		body: answer.json<{ csrf_token: string }>(),
		cookie: ["access", "refresh"].map((kind) => `__Host-${kind}=${value(`__Host-${kind}`)}`).join("; "),
		access: `__Host-access=${value("__Host-access")}`,
		csrf: value("__Host-csrf"),
	};
}
const sameSite = { "sec-fetch-site": "same-origin" };

t.test("T1, T2, T6, T7, C15: what the two kinds of token say", async (t) => {
	const { access_token, refresh_token } = (await login("ada")).json<Pair>();
	const [header, claims] = segments(access_token).map((part, index) => (index < 2 ? decode(part) : {}));
	t.match(header, { alg: "ES256", typ: "at+jwt", kid: String });
	const ours = { iss: String, aud: [String], sub: id, client_id: String, type: "access", fresh: true };
	const times = { exp: Number, nbf: Number, iat: Number, auth_time: Number };
	t.match(claims, { ...ours, ...times, jti: String, sid: String, roles: ["user"], permissions: [] });
	t.notMatch(refresh_token, /\./, "a refresh token is no JWT: it says nothing to anybody but us");
	t.match((await get("/cookie-refresh", refresh_token)).statusCode, 200);
	const ids = new Set<unknown>();
	for (let round = 0; round < 50; round++) ids.add(house.claims(id).jti);
	t.equal(ids.size, 50, "every token has an id of its own");
});

t.test("T4, C1, C2: how long a token lives is a setting with two ends, and no caller's wish", async (t) => {
	const { access_token, expires_in, refresh_expires_in } = (await login("ada")).json<Pair>();
	const { exp, iat } = decode(segments(access_token)[1]) as { exp: number; iat: number };
	t.same([exp - iat, expires_in, refresh_expires_in], [900, 900, 30 * 86_400]);
	const asking = await post("/login", { username: "ada", password: goodPassword, expires_in: "99999" });
	t.equal(codeOf(asking), "VALIDATION_FAILED");
	for (const value of ["0", "-1", "False", "never", "Infinity", "86401", "15m"])
		for (const name of ["ACCESS_TOKEN_SECONDS", "REFRESH_IDLE_DAYS", "REFRESH_ABSOLUTE_DAYS"])
			t.throws(() => loadConfig({ [name]: value }), { message: new RegExp(name) }, `${name}=${value}`);
	t.equal(loadConfig({ ACCESS_TOKEN_SECONDS: "60" }).config.accessTokenSeconds, 60);
	const { exp: _, ...endless } = good;
	t.equal(codeOf(await get("/who", mint(endless))), "INVALID_TOKEN", "a token without an end is refused");
});

t.test("C3 to C7: the algorithm is one of three with a public key, and no key is ever configured", async (t) => {
	for (const value of ["HS256", "HS512", "PS256", "none", "ES512", ""].filter(Boolean))
		t.throws(() => loadConfig({ SIGNING_ALGORITHM: value }), { message: /SIGNING_ALGORITHM/ }, value);
	for (const alg of ["HS256", "HS512", "RS256", "ES384", "EdDSA", "none"])
		t.equal(codeOf(await get("/who", mint(good, { alg }))), "INVALID_TOKEN", `${alg} is not what the key signs with`);
	t.equal(codeOf(await get("/who", mint(good))), 200);
});

t.test("C8 to C15: issuer, audience, times and subject are always written and always checked", async (t) => {
	const { iss: _, ...noIssuer } = good;
	const { aud: __, ...noAudience } = good;
	const { nbf: ___, ...noStart } = good;
	const now = clock.now();
	const cases: [what: string, claims: object, code: unknown][] = [
		["without iss", noIssuer, "INVALID_TOKEN"],
		["another iss", { ...good, iss: "https://other.example" }, "INVALID_TOKEN"],
		["without aud", noAudience, "INVALID_TOKEN"],
		["another aud", { ...good, aud: "https://other.example" }, "INVALID_TOKEN"],
		["ours among several", { ...good, aud: ["https://other.example", ...good.aud] }, 200],
		["without nbf", noStart, "INVALID_TOKEN"],
		["nbf within the tolerance", { ...good, nbf: now + 30 }, 200],
		["nbf beyond it", { ...good, nbf: now + 31 }, "INVALID_TOKEN"],
		["exp within the tolerance", { ...good, exp: now - 29 }, 200],
		["exp beyond it", { ...good, exp: now - 30 }, "INVALID_TOKEN"],
		["a sub that is a number", { ...good, sub: 7 }, "INVALID_TOKEN"],
		["the identity under another name", { ...good, sub: undefined, identity: id }, "INVALID_TOKEN"],
	];
	for (const [what, claims, code] of cases) t.equal(codeOf(await get("/who", mint(claims))), code, what);
});

t.test("C16, B9 to B13, B15: every refusal has one shape, a code of its own, and 401 or 403", async (t) => {
	const ended = await pair();
	await post("/logout", {}, bearer(ended.access_token));
	const { refresh_token } = await pair();
	const { access_token } = (await post("/refresh", { refresh_token })).json<Pair>();
	const root = await pairOf(rootId);
	const older = (await post("/refresh", { refresh_token: root.refresh_token })).json<Pair>();
	const cases: [row: string, token: string | undefined, url: string, status: number, code: string][] = [
		["B9 revoked", ended.access_token, "/who", 401, "INVALID_TOKEN"],
		["B10 expired", mint({ ...good, exp: good.iat - 60 }), "/who", 401, "INVALID_TOKEN"],
		["B11 invalid", "not.a.token", "/who", 401, "INVALID_TOKEN"],
		["B12 none", undefined, "/who", 401, "AUTHENTICATION_REQUIRED"],
		["B13 not fresh", older.access_token, "/last", 401, "FRESH_TOKEN_REQUIRED"],
		["the wrong rights", access_token, "/admin", 403, "INSUFFICIENT_PERMISSIONS"],
	];
	for (const [row, token, url, status, code] of cases) {
		const headers = token === undefined ? {} : bearer(token);
		const answer = url === "/last" ? await post(url, {}, headers) : await get(url, token);
		t.same(Object.keys(answer.json()), ["statusCode", "code", "error", "message"], row);
		t.match([answer.statusCode, answer.json().code], [status, code], row);
		t.match(answer.headers["www-authenticate"], /^Bearer/, row);
	}
});

t.test("C17, P5: locations are header and cookie, and an unknown or empty list stops the start", async (t) => {
	for (const value of ["query", "header,query", "json", "headers", ","])
		t.throws(() => loadConfig({ TOKEN_LOCATIONS: value }), { message: /TOKEN_LOCATIONS/ }, value);
	t.same(loadConfig({}).config.tokenLocations, ["header"]);
	t.throws(() => app.requires({ locations: [] }));
	t.throws(() => app.requires({ locations: ["query" as "form"] }));
});

t.test(
	"C20 to C23, L3, L4: a token in a form or in JSON where the route says so, and never in the address",
	async (t) => {
		const { access_token, refresh_token } = await pair();
		t.equal(codeOf(await post("/form", { access_token })), 200);
		t.equal(codeOf(await post("/form-refresh", { refresh_token })), 200);
		t.equal(codeOf(await post("/form", { refresh_token })), "AUTHENTICATION_REQUIRED", "the names differ by kind");
		t.equal(codeOf(await post("/form-refresh", { access_token })), "AUTHENTICATION_REQUIRED");
		const send = (type: string, payload = JSON.stringify({ access_token })) =>
			app.inject({ method: "POST", url: "/form", payload, headers: { "content-type": type } });
		for (const type of ["application/json", "application/json; charset=utf-8"])
			t.equal(codeOf(await send(type)), 200, type);
		t.equal(codeOf(await send("text/plain")), "UNSUPPORTED_MEDIA_TYPE");
		t.equal(codeOf(await send("application/json", "{}")), "AUTHENTICATION_REQUIRED", "the key is missing");
		t.equal(codeOf(await send("application/json", '{"access_token":7}')), "AUTHENTICATION_REQUIRED", "it is no text");
		for (const query of [`jwt=${access_token}`, `access_token=${access_token}`, `jwt=Bearer%20${access_token}`])
			t.equal(codeOf(await get(`/who?${query}`)), "AUTHENTICATION_REQUIRED");
	},
);

t.test("C18, C19, L1, L2: the header is Authorization, the scheme Bearer, and there is one token in it", async (t) => {
	const { access_token } = await pair();
	const cases: [headers: Headers, code: unknown][] = [
		[{ authorization: `Bearer ${access_token}` }, 200],
		[{ authorization: `bearer ${access_token}` }, 200],
		[{ authorization: `Basic abc, Bearer ${access_token}` }, "AUTHENTICATION_REQUIRED"],
		[{ authorization: access_token }, "AUTHENTICATION_REQUIRED"],
		[{ authorization: `JWT ${access_token}` }, "AUTHENTICATION_REQUIRED"],
		[{ authorization: "Bearer" }, "INVALID_TOKEN"],
		[{ authorization: `Bearer ${access_token} more` }, "INVALID_TOKEN"],
		[{ authorization: `Bearer ${access_token}, Basic abc` }, "INVALID_TOKEN"],
		[{ "x-access-token": access_token }, "AUTHENTICATION_REQUIRED"],
	];
	for (const [headers, code] of cases)
		t.equal(codeOf(await app.inject({ url: "/who", headers })), code, JSON.stringify(headers).slice(0, 40));
});

t.test("C24 to C29, K1, K2: the cookies, with attributes that no setting weakens", async (t) => {
	const { set } = await cookiesOfLogin();
	const parts = set.filter((one) => !/Max-Age=0/.test(one)).map((one) => one.split("; ").slice(1).sort().join("; "));
	t.same(parts, [
		"HttpOnly; Max-Age=900; Path=/; SameSite=Lax; Secure",
		"HttpOnly; Max-Age=2592000; Path=/; SameSite=Strict; Secure",
		"Max-Age=2592000; Path=/; SameSite=Strict; Secure",
		"HttpOnly; Max-Age=15552000; Path=/; SameSite=Strict; Secure",
	]);
	t.match(
		set.map((one) => one.split("=", 1)[0]),
		["__Host-access", "__Host-refresh", "__Host-csrf", "__Host-device"].filter(Boolean),
	);
});

t.test("C30 to C35, L6, K4: with a cookie, what changes something needs the session's own value", async (t) => {
	const { cookie, access, csrf, body } = await cookiesOfLogin();
	t.equal(body.csrf_token, csrf, "K4: a program reads the value in the answer");
	const cases: [what: string, headers: Headers, fields: Record<string, string>, code: unknown][] = [
		["the cookie alone", { cookie, ...sameSite }, {}, "CSRF_TOKEN_REQUIRED"],
		["the value of nobody", { cookie, ...sameSite, "x-csrf-token": "x" }, {}, "CSRF_TOKEN_MISMATCH"],
		["in the header", { cookie, ...sameSite, "x-csrf-token": csrf }, {}, 200],
		["in the form's field", { cookie, ...sameSite }, { csrf_token: csrf }, 200],
		["in the cookie it came in", { cookie: `${cookie}; __Host-csrf=${csrf}`, ...sameSite }, {}, "CSRF_TOKEN_REQUIRED"],
		["no word of the origin", { cookie, "x-csrf-token": csrf }, {}, "CROSS_ORIGIN_REFUSED"],
	];
	for (const [what, headers, fields, code] of cases) {
		const before = reached;
		t.equal(codeOf(await post("/change", fields, headers)), code, what);
		t.equal(reached - before, code === 200 ? 1 : 0, `${what}: and no more than that`);
	}
	for (const method of ["GET", "HEAD"] as const)
		t.equal((await app.inject({ method, url: "/who", headers: { cookie: access } })).statusCode, 200, method);
	t.equal(codeOf(await post("/change", {}, bearer((await pair()).access_token))), 200, "a header needs no value");
	const { refresh } = await cookies();
	t.equal(
		codeOf(await post("/refresh", {}, { cookie: refresh, ...sameSite })),
		"CSRF_TOKEN_REQUIRED",
		"C35: nor /refresh",
	);
});

t.test("L5: each kind of route reads its own cookie", async (t) => {
	const { access, refresh, csrf } = await cookies();
	const read = (url: string, cookie: string) => app.inject({ url, headers: { cookie } });
	t.equal(codeOf(await read("/who", access)), 200);
	t.equal(codeOf(await read("/who", refresh)), "AUTHENTICATION_REQUIRED");
	t.equal(codeOf(await read("/cookie-refresh", refresh)), 200);
	t.equal(codeOf(await read("/cookie-refresh", access)), "AUTHENTICATION_REQUIRED");
	const headers = { cookie: refresh, ...sameSite, "x-csrf-token": csrf };
	t.equal(codeOf(await post("/refresh", {}, headers)), 200);
});

t.test("K3: a logout takes every cookie back", async (t) => {
	const { cookie, csrf } = await cookies();
	const answer = await post("/logout", {}, { cookie, ...sameSite, "x-csrf-token": csrf });
	t.equal(answer.statusCode, 204);
	for (const name of ["__Host-access", "__Host-refresh", "__Host-csrf"]) {
		const taken = [answer.headers["set-cookie"] ?? []].flat().find((one) => one.startsWith(`${name}=;`));
		t.match(taken, /Max-Age=0; Path=\/.*Secure/, name);
	}
	t.equal(
		codeOf(await app.inject({ url: "/who", headers: { cookie } })),
		"INVALID_TOKEN",
		"and they are good for nothing",
	);
});

t.test("P8: a preflight meets no guard, and gets no leave of CORS either", async (t) => {
	const headers = { origin: "https://app.example", "access-control-request-method": "POST" };
	const answer = await app.inject({ method: "OPTIONS", url: "/change", headers });
	t.match([answer.statusCode, answer.json().code], [405, "METHOD_NOT_ALLOWED"]);
	t.equal(answer.headers["www-authenticate"], undefined, "it is not asked for a token");
	t.equal(answer.headers["access-control-allow-origin"], undefined);
});

t.test("P9: a guard of one's own is a preHandler behind app.authenticate", async (t) => {
	t.equal(codeOf(await get("/admin")), "AUTHENTICATION_REQUIRED");
	t.equal(codeOf(await get("/admin", mint(good))), "INSUFFICIENT_PERMISSIONS");
	t.equal(codeOf(await get("/admin", mint({ ...good, roles: ["admin"] }))), 200);
});

t.test("P1, P7, P10: the order of the checks; only what passed them all reaches the handler", async (t) => {
	const { access, csrf } = await cookies();
	const claims = { ...good, ...decode(segments(access)[1]) };
	const ended = await cookies();
	const lastOf = (token: string, more: Headers = {}) =>
		post("/last", {}, { cookie: `__Host-access=${token}`, ...sameSite, ...more });
	const proof = { "x-csrf-token": csrf };
	const rights = { ...claims, permissions: ["users:write"] };
	await post("/logout", {}, { cookie: ended.cookie, ...sameSite, "x-csrf-token": ended.csrf });
	// Each case has every fault of the cases below it as well, but for the rightful one.
	const nothing = { ...claims, fresh: false };
	const cases: [fault: string, answer: Promise<{ statusCode: number; json(): { code?: string } }>, code: unknown][] = [
		["no token", post("/last", {}, sameSite), "AUTHENTICATION_REQUIRED"],
		["a broken one", lastOf("x"), "INVALID_TOKEN"],
		["an expired one", lastOf(mint({ ...nothing, exp: claims.iat - 60 })), "INVALID_TOKEN"],
		["a revoked one", lastOf(ended.access.slice("__Host-access=".length)), "INVALID_TOKEN"],
		["no proof against forged requests", lastOf(mint(nothing)), "CSRF_TOKEN_REQUIRED"],
		["not fresh", lastOf(mint(nothing), proof), "FRESH_TOKEN_REQUIRED"],
		["no permission", lastOf(mint(claims), proof), "INSUFFICIENT_PERMISSIONS"],
		["nothing wrong", lastOf(mint(rights), proof), 200],
	];
	for (const [fault, answer, code] of cases) {
		await answer;
		t.equal(codeOf(await answer), code, fault);
	}
	const before = { reached, asked };
	t.equal(codeOf(await lastOf(mint(claims), proof)), "INSUFFICIENT_PERMISSIONS");
	t.same({ reached, asked }, before, "an author's own check comes after all of ours");
	t.equal(codeOf(await lastOf(mint(rights), proof)), 200);
	t.same({ reached, asked }, { reached: before.reached + 1, asked: before.asked + 1 });
});

t.test("P11: the caller's own token counts before a cookie, and a bad one is not passed over", async (t) => {
	const { access, cookie, csrf } = await cookies();
	const { access_token: root } = await pairOf(rootId);
	const both = await app.inject({ url: "/who", headers: { cookie: access, ...bearer(root) } });
	t.match(both.json(), { location: "header" });
	t.not(both.json().id, id, "the header is who asks");
	const bad = await app.inject({ url: "/who", headers: { cookie: access, ...bearer("x") } });
	t.equal(codeOf(bad), "INVALID_TOKEN", "a bad header beside a good cookie");
	const other = await app.inject({ url: "/who", headers: { cookie: access, authorization: "Basic abc" } });
	t.equal(other.json().location, "cookie", "another scheme is no token");
	const two = { cookie, ...sameSite, "x-csrf-token": csrf, ...bearer(root) };
	t.equal(codeOf(await post("/refresh", { refresh_token: "x" }, two)), "TWO_CREDENTIALS", "two of the caller's own");
});

t.test("R1: what a handler reads of a token, and that nothing is there without a guard", async (t) => {
	const { access_token } = await pair();
	const { jti, sid, exp, iat, auth_time } = decode(segments(access_token)[1]);
	t.match((await get("/who", access_token)).json(), {
		kind: "access",
		id,
		tokenId: jti,
		sessionId: sid,
		expiresAt: exp,
		issuedAt: iat,
		authenticatedAt: auth_time,
		fresh: true,
		roles: ["user"],
		permissions: [],
		location: "header",
		found: true,
	});
	t.same((await get("/nobody", access_token)).json(), [null, null], "a good token counts only behind a guard");
});

t.test("R2, R4: reading a token outside of a guard checks all of it", async (t) => {
	const { access_token } = await pair();
	const read = (token: string) => post("/read", { token });
	t.match((await read(access_token)).json(), { id, tokenId: decode(segments(access_token)[1]).jti });
	t.equal(codeOf(await read(mint(good, { alg: "none" }))), "INVALID_TOKEN");
	t.equal(codeOf(await read(mint({ ...good, type: "refresh" }))), "INVALID_TOKEN");
	t.equal(codeOf(await read(mint({ ...good, exp: good.iat - 31 }))), "INVALID_TOKEN", "expired");
	await post("/logout", {}, bearer(access_token));
	t.equal(codeOf(await read(access_token)), "INVALID_TOKEN", "revoked");
	t.equal(codeOf(await get("/who", access_token)), "INVALID_TOKEN");
});

t.test("R3: a token that lacks type, fresh or jti is refused, not completed", async (t) => {
	for (const name of ["type", "fresh", "jti"] as const)
		t.equal(codeOf(await get("/who", mint({ ...good, [name]: undefined }))), "INVALID_TOKEN", name);
});

t.test("the pair goes together: a logout with either token ends both", async (t) => {
	for (const kind of ["access_token", "refresh_token"] as const) {
		const tokens = await pair();
		t.equal((await post("/logout", { [kind]: tokens[kind] })).statusCode, 204, kind);
		t.equal(codeOf(await get("/who", tokens.access_token)), "INVALID_TOKEN");
		t.equal(codeOf(await post("/refresh", { refresh_token: tokens.refresh_token })), "INVALID_TOKEN");
	}
});
