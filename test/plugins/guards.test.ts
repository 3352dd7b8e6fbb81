/** Every option of `app.requires`: what it lets through, how it refuses, and what it refuses to be at a start. */
import type { FastifyRequest } from "fastify";
import t from "tap";
import type { Needs } from "../../src/access.ts";
import type { App } from "../../src/app.ts";
import { cookieNames } from "../../src/cookies.ts";
import { form, testApp } from "../support/app.ts";
import { beginSession } from "../support/sessions.ts";

interface Pair {
	access_token: string;
	refresh_token: string;
}

/** One route for each kind of guard; each answers who was there and where the token was. */
const guarded: [url: string, access: string, needs: Needs][] = [
	["/plain", "authenticated", {}],
	["/fresh", "authenticated", { fresh: true }],
	["/recent", "authenticated", { maxAge: 300 }],
	["/fresh-and-recent", "authenticated", { fresh: true, maxAge: 300 }],
	["/readers", "users:read", { permissions: ["users:read"], fresh: true }],
	["/anybody", "public", { optional: true }],
	["/refresh-only", "authenticated", { kind: "refresh" }],
	["/either", "authenticated", { kind: "either" }],
	["/form", "authenticated", { locations: ["form"] }],
	["/cookie", "authenticated", { locations: ["cookie"] }],
	["/header-and-form", "authenticated", { kind: "either", locations: ["header", "form"] }],
];

const extend = (app: App) => {
	for (const [url, access, needs] of guarded)
		app.route({
			method: ["GET", "POST"],
			url,
			config: { access },
			preHandler: app.requires(needs),
			schema: { consumes: ["application/x-www-form-urlencoded", "application/json"] },
			handler: async (request) => {
				const principal = request.findPrincipal();
				return { who: principal?.id ?? null, kind: principal?.kind ?? null, from: request.tokenLocation };
			},
		});
};

const house = await testApp(t, { extend, settings: { DOCS: "on" } });
const { app, clock, get, login } = house;
const ada = await house.addUser("ada");
const pairOf = async (username: string) => (await login(username)).json<Pair>();
const post = (url: string, fields: Record<string, string>, headers: Record<string, string> = {}) => {
	const { payload, headers: own } = form(fields);
	return app.inject({ method: "POST", url, payload, headers: { ...own, ...headers } });
};
const refreshed = async ({ refresh_token }: Pair) => (await post("/refresh", { refresh_token })).json<Pair>();
const stepUp = 'Bearer error="insufficient_user_authentication"';

t.test("fresh lets only a token through for which the password was given, and says how to get one", async (t) => {
	const first = await pairOf("ada");
	t.equal((await get("/fresh", first.access_token)).statusCode, 200, "from the login");
	const second = await refreshed(first);
	t.equal((await get("/plain", second.access_token)).statusCode, 200, "a refreshed token is good elsewhere");
	const answer = await get("/fresh", second.access_token);
	t.match(answer, { statusCode: 401, headers: { "www-authenticate": stepUp } });
	t.equal(answer.headers["www-authenticate"], stepUp, "and no age, for none was asked for");
	t.same(answer.json(), {
		statusCode: 401,
		code: "FRESH_TOKEN_REQUIRED",
		error: "Unauthorized",
		message: "This needs your password again: POST /reauthenticate",
	});
	const authorization = `Bearer ${second.access_token}`;
	const again = await post("/reauthenticate", { password: "copper thistle meridian 2718" }, { authorization });
	t.equal((await get("/fresh", again.json<Pair>().access_token)).statusCode, 200, "after POST /reauthenticate");
});

t.test(
	"maxAge lets a session through for so many seconds after the password, refreshed or not (RFC 9470)",
	async (t) => {
		const first = await pairOf("ada");
		clock.advance(300);
		const second = await refreshed(first);
		for (const { access_token } of [first, second])
			t.equal((await get("/recent", access_token)).statusCode, 200, "the last second counts");
		t.equal((await get("/fresh-and-recent", first.access_token)).statusCode, 200);
		t.equal((await get("/fresh-and-recent", second.access_token)).statusCode, 401, "recent, but not fresh");
		clock.advance(1);
		for (const { access_token } of [first, second])
			for (const url of ["/recent", "/fresh-and-recent"]) {
				const answer = await get(url, access_token);
				t.match(answer, { statusCode: 401, headers: { "www-authenticate": `${stepUp}, max_age=300` } }, url);
				t.equal(answer.json().code, "FRESH_TOKEN_REQUIRED");
			}
		t.equal((await get("/plain", second.access_token)).statusCode, 200, "elsewhere it goes on");
	},
);

t.test("fresh and permissions hold together", async (t) => {
	const root = await pairOf("root");
	t.equal((await get("/readers", root.access_token)).statusCode, 200);
	const older = await refreshed(root);
	t.equal((await get("/readers", older.access_token)).json().code, "FRESH_TOKEN_REQUIRED");
	t.equal((await get("/readers", (await pairOf("ada")).access_token)).json().code, "INSUFFICIENT_PERMISSIONS");
});

t.test("optional lets a request without a token through, and no bad token", async (t) => {
	t.same((await get("/anybody")).json(), { who: null, kind: null, from: null });
	const { access_token, refresh_token } = await pairOf("ada");
	t.same((await get("/anybody", access_token)).json(), { who: ada, kind: "access", from: "header" });
	const { good, ended } = { good: house.claims(ada), ended: await pairOf("ada") };
	await post("/logout", {}, { authorization: `Bearer ${ended.access_token}` });
	for (const [what, token] of [
		["expired", house.mint({ ...good, exp: good.iat - 60 })],
		["malformed", "x"],
		["empty", ""],
		["of the wrong kind", refresh_token],
		["of an ended session", ended.access_token],
	] as const) {
		const answer = await get("/anybody", token);
		t.match([answer.statusCode, answer.json().code], [401, "INVALID_TOKEN"], what);
	}
});

t.test("T15: kind decides which token counts; the other one is 401", async (t) => {
	const { access_token, refresh_token } = await pairOf("ada");
	for (const [url, access, refresh] of [
		["/plain", 200, 401],
		["/refresh-only", 401, 200],
		["/either", 200, 200],
	] as const) {
		t.equal((await get(url, access_token)).statusCode, access, `${url} with an access token`);
		t.equal((await get(url, refresh_token)).statusCode, refresh, `${url} with a refresh token`);
		t.equal((await get(url)).json().code, "AUTHENTICATION_REQUIRED", `${url} with none`);
	}
	t.match((await get("/either", refresh_token)).json(), { who: ada, kind: "refresh" });
	t.match((await get("/either", access_token)).json(), { who: ada, kind: "access" });
	t.equal(
		(await post("/refresh", { refresh_token })).statusCode,
		200,
		"being looked at does not use a refresh token up",
	);
});

t.test("locations says where one route looks, whatever TOKEN_LOCATIONS says", async (t) => {
	const { access_token, refresh_token } = await pairOf("ada");
	const cookie = `${cookieNames.access}=${access_token}`;
	const authorization = `Bearer ${access_token}`;
	t.same(house.services.config.tokenLocations, ["header"], "cookies are off everywhere else");
	t.match((await post("/form", { access_token })).json(), { who: ada, from: "form" });
	t.equal((await post("/form", {}, { authorization })).statusCode, 401, "/form looks at no header");
	t.equal((await post("/plain", { access_token })).statusCode, 401, "other routes look at no form");
	const json = { method: "POST", url: "/form", payload: { access_token } } as const;
	t.match((await app.inject(json)).json(), { who: ada, from: "form" }, "JSON is a posted form as well");
	const withCookie = (url: string) => app.inject({ url, headers: { cookie } });
	t.match((await withCookie("/cookie")).json(), { who: ada, from: "cookie" });
	t.equal((await withCookie("/plain")).statusCode, 401, "other routes look at no cookie");
	t.equal((await get("/cookie", access_token)).statusCode, 401, "/cookie looks at no header");
	const unsafe = await post("/cookie", {}, { cookie, "sec-fetch-site": "same-origin" });
	t.equal(unsafe.json().code, "CSRF_TOKEN_REQUIRED", "with a cookie the checks against forged requests are on");
	const two = await post("/header-and-form", { refresh_token }, { authorization });
	t.equal(two.json().code, "TWO_CREDENTIALS", "two of the caller's own are ambiguous");
});

t.test("a guard that can never do what it says refuses the start, and says why", async (t) => {
	const cases: [needs: object, message: RegExp][] = [
		[{ kind: "refresh", permissions: ["users:read"] }, /a refresh token carries no permissions/],
		[{ kind: "either", permissions: ["users:read"] }, /a refresh token carries no permissions/],
		[{ kind: "refresh", fresh: true }, /a refresh token is never fresh/],
		[{ kind: "either", fresh: true }, /a refresh token is never fresh/],
		[{ kind: "id" }, /kind is one of access, refresh, either/],
		[{ locations: [] }, /locations is empty/],
		[{ locations: ["header", "query"] }, /no location query, only header, cookie, form/],
		[{ maxAge: -1 }, /maxAge is a number of seconds, 0 or more/],
		[{ maxAge: Number.NaN }, /maxAge is a number of seconds/],
		[{ maxAge: 1.5 }, /maxAge is a number of seconds/],
		[{ maxAge: "300" }, /maxAge is a number of seconds/],
		[{ optional: true, permissions: ["users:read"] }, /optional lets everybody in/],
		[{ optional: true, fresh: true }, /optional lets everybody in/],
		[{ optional: true, maxAge: 0 }, /optional lets everybody in/],
		[{ freshh: true }, /there is no option freshh/],
		[{ permision: ["users:read"] }, /there is no option permision/],
	];
	for (const [needs, message] of cases)
		t.throws(() => app.requires(needs as Needs), { message }, `${JSON.stringify(needs)}`);
	t.throws(
		() => app.requires({ locations: [] }),
		{ message: /^app\.requires\(\{"locations":\[\]\}\): / },
		"it is named",
	);
	t.doesNotThrow(() => app.requires({ optional: true, fresh: false, permissions: [] }));
	for (const [, , needs] of guarded) t.doesNotThrow(() => app.requires(needs), JSON.stringify(needs));
	t.doesNotThrow(() => app.requires({ kind: "refresh", fresh: false, permissions: [], maxAge: 0 }));
});

t.test("two guards of one route that find different sessions are 400, whoever may do more", async (t) => {
	const readers = { permissions: ["users:read"], locations: ["header"] } as const;
	const two = await testApp(t, {
		extend: (app) => {
			const cookie = app.requires({ locations: ["cookie"] });
			const handler = async (request: FastifyRequest) => ({ who: request.principal.id });
			app.get("/both", { config: { access: "users:read" }, preHandler: [app.requires(readers), cookie] }, handler);
			const look = app.requires({ optional: true, locations: ["header"] });
			app.get("/look", { config: { access: "authenticated" }, preHandler: [look, cookie] }, handler);
		},
	});
	const bob = await beginSession(two, await two.addUser("bob"));
	const { id: rootId } = await two.services.users.getByName("root");
	const root = await beginSession(two, rootId);
	const elsewhere = await beginSession(two, rootId);
	const ask = (url: string, header: string, inCookie: string) =>
		two.app.inject({
			url,
			headers: { authorization: `Bearer ${header}`, cookie: `${cookieNames.access}=${inCookie}` },
		});
	for (const url of ["/both", "/look"]) {
		t.same((await ask(url, root.access, root.access)).json(), { who: rootId }, `${url}: one session twice is one`);
		for (const [what, cookie] of [
			["another account", bob],
			["another session", elsewhere],
		] as const) {
			const answer = await ask(url, root.access, cookie.access);
			t.match([answer.statusCode, answer.json().code], [400, "TWO_CREDENTIALS"], `${url}: ${what}`);
		}
	}
});

t.test("a guard is what it was when it was made", async (t) => {
	const needs: Needs = { permissions: ["users:read"] };
	const guard = app.requires(needs);
	needs.permissions = [];
	t.same(guard.needs, { permissions: ["users:read"] });
});

t.test("the OpenAPI page says which token each route takes, and how it refuses", async (t) => {
	type Operation = {
		security?: object[];
		parameters?: { name: string }[];
		responses: Record<string, { description: string }>;
	};
	const { paths } = (await get("/docs/json")).json<{ paths: Record<string, { post: Operation }> }>();
	const securityOf = (url: string) => paths[url]?.post.security;
	const headersOf = (operations: typeof paths, url: string) =>
		operations[url]?.post.parameters?.map(({ name }) => name).sort();
	t.same(headersOf(paths, "/cookie"), ["x-csrf-token"], "beside a cookie");
	t.same(headersOf(paths, "/password"), ["x-device-token"]);
	const other = await testApp(t, { settings: { TOKEN_LOCATIONS: "header,cookie" } });
	const withCookies = (await other.get("/docs/json")).json<{ paths: typeof paths }>().paths;
	t.same(headersOf(withCookies, "/password"), ["x-csrf-token", "x-device-token"], "a route keeps its own");
	t.same(securityOf("/plain"), [{ accessToken: [] }]);
	t.same(securityOf("/readers"), [{ accessToken: ["users:read"] }]);
	t.same(securityOf("/refresh-only"), [{ refreshToken: [] }]);
	t.same(securityOf("/refresh"), [{ refreshToken: [] }, {}], "or as a field of the form");
	t.same(securityOf("/either"), [{ accessToken: [] }, { refreshToken: [] }]);
	t.same(securityOf("/cookie"), [{ accessCookie: [] }]);
	t.same(securityOf("/anybody"), [{}, { accessToken: [] }], "none is enough");
	t.same(securityOf("/login"), undefined);
	const refusals = (url: string) => paths[url]?.post.responses[401]?.description ?? "";
	t.match(refusals("/fresh"), /FRESH_TOKEN_REQUIRED/);
	t.match(refusals("/recent"), /FRESH_TOKEN_REQUIRED/);
	t.notMatch(refusals("/plain"), /FRESH_TOKEN_REQUIRED/);
	t.match(refusals("/plain"), /AUTHENTICATION_REQUIRED/);
	t.notMatch(refusals("/anybody"), /AUTHENTICATION_REQUIRED/);
});
