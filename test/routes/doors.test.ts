/** The doors that take tokens, side by side: which kind opens which, and what none of them lets happen. Rows of P0 and P1. */
import t, { type Test } from "tap";
import { form, type TestApp, testApp } from "../support/app.ts";

interface Pair {
	access_token: string;
	refresh_token: string;
}
/** What a request is made of, beside its path. */
interface Sent {
	token?: string;
	fields?: Record<string, string>;
	headers?: Record<string, string>;
}

const house = await testApp(t, { settings: { TOKEN_LOCATIONS: "header,cookie" } });
await house.addUser("ada");
await house.addUser("bob");

const pairOf = async (username: string): Promise<Pair> => (await house.login(username)).json<Pair>();
const claimsOf = ({ access_token }: Pair): { sid: string; jti: string; sub: string } =>
	JSON.parse(Buffer.from(access_token.split(".")[1] ?? "", "base64url").toString());

const send = ({ app }: TestApp, method: string, url: string, { token, fields, headers }: Sent = {}) => {
	const body = fields && form(fields);
	const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
	return app.inject({ ...body, method: method as "GET", url, headers: { ...body?.headers, ...bearer, ...headers } });
};

/** The session goes on, and nothing has moved it: its access token is good and its refresh token is the newest one. */
async function untouched(t: Test, pair: Pair, label: string): Promise<void> {
	t.equal((await house.get("/protected", pair.access_token)).statusCode, 200, `${label}: the access token is good`);
	const found = await house.services.sessions.find(claimsOf(pair).sid);
	t.match(found, { session: { generation: 0 } }, `${label}: no refresh has happened`);
}

t.test("T15: a refresh token opens nothing but /refresh and /logout, wherever it is put", async (t) => {
	const pair = await pairOf("root");
	const { refresh_token: token } = pair;
	const doors: [method: string, url: string, fields?: Record<string, string>][] = [
		["GET", "/protected"],
		["GET", "/me"],
		["GET", "/sessions"],
		["DELETE", `/sessions/${claimsOf(pair).sid}`],
		["POST", "/password", { current_password: "x", new_password: "x" }],
		["POST", "/reauthenticate", { password: "x" }],
		["POST", "/revoke", { token }],
		["POST", "/introspect", { token }],
	];
	const refused = { statusCode: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } };
	for (const [method, url, fields] of doors) {
		t.match(await send(house, method, url, { token, ...(fields && { fields }) }), refused, `${method} ${url}, header`);
		const headers = { cookie: `__Host-access=${token}`, "sec-fetch-site": "same-origin" };
		t.match(
			await send(house, method, url, { headers, ...(fields && { fields }) }),
			refused,
			`${method} ${url}, cookie`,
		);
	}
	t.match(
		await send(house, "POST", "/logout", { fields: { access_token: token } }),
		refused,
		"/logout, as the other kind",
	);
	await untouched(t, pair, "afterwards");
});

t.test("T15: an access token refreshes nothing, and passes for no refresh token at /logout", async (t) => {
	const pair = await pairOf("ada");
	const { access_token: token } = pair;
	const headers = { cookie: `__Host-refresh=${token}`, "sec-fetch-site": "same-origin" };
	for (const [label, sent] of [
		["form", { fields: { refresh_token: token } }],
		["header", { token }],
		["cookie", { headers }],
	] as [string, Sent][]) {
		const answer = await send(house, "POST", "/refresh", sent);
		t.match(answer.json(), { statusCode: 401, code: "INVALID_TOKEN" }, `/refresh, ${label}`);
		t.notMatch(answer.body, /_token"/, label);
		t.equal(answer.headers["set-cookie"], undefined, `${label}: F13: no cookie is cleared`);
	}
	t.equal((await send(house, "POST", "/refresh", { fields: { access_token: token } })).statusCode, 400);
	t.equal((await send(house, "POST", "/refresh", { headers: { cookie: `__Host-access=${token}` } })).statusCode, 401);
	t.equal((await send(house, "POST", "/logout", { fields: { refresh_token: token } })).statusCode, 401);
	await untouched(t, pair, "afterwards");
});

t.test("T15: /introspect tells the kinds apart, and other kinds of JWT are nothing at every door", async (t) => {
	const asking = await pairOf("root");
	const pair = await pairOf("ada");
	const ask = async (token: string) =>
		(await send(house, "POST", "/introspect", { token: asking.access_token, fields: { token } })).json();
	t.match(await ask(pair.access_token), { active: true, type: "access" });
	t.match(await ask(pair.refresh_token), { active: true, type: "refresh" });
	const good = { ...house.claims(claimsOf(pair).sub), sid: claimsOf(pair).sid };
	t.same((await ask(house.mint(good))).active, true, "those below are good but for one thing");
	for (const [label, token] of [
		["typ JWT", house.mint(good, { typ: "JWT" })],
		["typ refresh+jwt", house.mint(good, { typ: "refresh+jwt" })],
		["no typ", house.mint(good, { typ: undefined })],
		["type refresh", house.mint({ ...good, type: "refresh" })],
	] as const) {
		t.same(await ask(token), { active: false }, label);
		for (const [method, url, sent] of [
			["GET", "/protected", { token }],
			["GET", "/me", { token }],
			["POST", "/refresh", { fields: { refresh_token: token } }],
			["POST", "/refresh", { token }],
			["POST", "/logout", { token }],
			["POST", "/logout", { fields: { access_token: token } }],
			["POST", "/logout/all", { fields: { refresh_token: token } }],
			["POST", "/introspect", { token, fields: { token } }],
		] as [string, string, Sent][])
			t.equal((await send(house, method, url, sent)).statusCode, 401, `${label} at ${method} ${url}`);
		const revoked = await send(house, "POST", "/revoke", { token: asking.access_token, fields: { token } });
		t.equal(revoked.statusCode, 200, `${label} at /revoke: nothing to revoke`);
	}
	await untouched(t, pair, "afterwards");
});

t.test("B03: a token in the header and another in the form is 400, whichever they are, and does nothing", async (t) => {
	const pair = await pairOf("ada");
	const { access_token, refresh_token } = pair;
	for (const [url, token, fields] of [
		["/refresh", access_token, { refresh_token }],
		["/refresh", refresh_token, { refresh_token }],
		["/refresh", "garbage", { refresh_token }],
		["/logout", access_token, { access_token }],
		["/logout", access_token, { refresh_token }],
		["/logout/all", refresh_token, { access_token }],
		["/logout/all", access_token, { refresh_token: "garbage" }],
	] as const) {
		const answer = await send(house, "POST", url, { token, fields });
		t.match(answer.json(), { statusCode: 400, code: "TWO_CREDENTIALS" }, `${url} with ${Object.keys(fields)}`);
	}
	for (const url of ["/logout", "/logout/all"])
		for (const fields of [pair, { access_token, refresh_token: "garbage" }]) {
			const { access_token, refresh_token } = fields;
			const answer = await send(house, "POST", url, { fields: { access_token, refresh_token } });
			t.match(answer.json(), { statusCode: 400, code: "TWO_CREDENTIALS" }, `${url} with both kinds in the form`);
		}
	for (const url of ["/refresh", "/logout", "/logout/all"]) {
		const answer = await send(house, "POST", `${url}?access_token=${access_token}`, { fields: { refresh_token } });
		t.equal(answer.statusCode, 400, `${url} with a query`);
	}
	await untouched(t, pair, "afterwards");
});

t.test("C04: GET, HEAD and OPTIONS change nothing, whatever they carry", async (t) => {
	const pair = await pairOf("ada");
	const { access_token: token, refresh_token } = pair;
	const { sid } = claimsOf(pair);
	const query = `?refresh_token=${refresh_token}&access_token=${token}&token=${token}&_method=POST`;
	const headers = {
		cookie: `__Host-access=${token}; __Host-refresh=${refresh_token}`,
		"x-csrf-token": house.services.csrf.valueFor(sid),
		"x-http-method-override": "POST",
		"sec-fetch-site": "same-origin",
	};
	for (const url of ["/logout", "/logout/all", "/refresh", "/revoke", "/reauthenticate", `/sessions/${sid}`])
		for (const method of ["GET", "HEAD", "OPTIONS"])
			for (const [label, sent] of [
				["header", { token }],
				["cookies", { headers }],
				["both", { token, headers }],
			] as [string, Sent][])
				for (const path of [url, `${url}${query}`]) {
					const answer = await send(house, method, path, sent);
					t.ok([404, 405].includes(answer.statusCode), `${method} ${url}, ${label}: ${answer.statusCode}`);
					t.equal(answer.headers["set-cookie"], undefined, `${method} ${url}, ${label}: no cookie`);
				}
	await untouched(t, pair, "afterwards");
});

t.test("L21: a login makes new tokens and a new session, and adopts none that came with it", async (t) => {
	const old = await pairOf("ada");
	const { sid, jti, sub } = claimsOf(old);
	const cookie = `__Host-access=${old.access_token}; __Host-refresh=${old.refresh_token}; sid=${sid}; session=${sid}`;
	const fields = { username: "ada", password: "copper thistle meridian 2718" };
	for (const [label, sent] of [
		["header", { token: old.access_token }],
		["refresh token in the header", { token: old.refresh_token }],
		["cookies", { headers: { cookie } }],
		["header and cookies", { token: old.access_token, headers: { cookie } }],
	] as [string, Sent][]) {
		const answer = await send(house, "POST", "/login", { ...sent, fields });
		t.equal(answer.statusCode, 200, label);
		const begun = claimsOf(answer.json<Pair>());
		t.equal(begun.sub, sub, label);
		t.not(begun.sid, sid, `${label}: another session`);
		t.not(begun.jti, jti, `${label}: another token`);
		t.not(answer.json<Pair>().refresh_token, old.refresh_token, label);
	}
	for (const name of ["sid", "session_id", "jti", "refresh_token", "access_token"])
		t.equal((await send(house, "POST", "/login", { fields: { ...fields, [name]: sid } })).statusCode, 400, name);
	await untouched(t, old, "the session of before");
});

t.test("H14: nobody's id opens anything to somebody else, and tells nothing", async (t) => {
	const ada = await pairOf("ada");
	const bob = await pairOf("bob");
	const { paths } = (await house.get("/docs/json")).json<{ paths: Record<string, object> }>();
	const withId = Object.entries(paths).filter(([path]) => path.includes("{"));
	t.ok(withId.length > 0);
	for (const [path, operations] of withId)
		for (const method of Object.keys(operations)) {
			const at = (id: string) =>
				send(house, method.toUpperCase(), path.replace(/\{\w+\}/, id), { token: ada.access_token });
			const answers = [];
			for (const id of [claimsOf(bob).sid, claimsOf(bob).sub, "AAAAAAAAAAAAAAAAAAAAAA", "x"])
				answers.push(await at(id));
			const [first] = answers;
			t.equal(first?.statusCode, 404, `${method} ${path}`);
			for (const answer of answers) t.equal(answer.body, first?.body, `${method} ${path}: of no id is anything told`);
		}
	for (const token of [bob.access_token, bob.refresh_token]) {
		const answer = await send(house, "POST", "/revoke", { token: ada.access_token, fields: { token } });
		t.match(answer, { statusCode: 200, body: "" }, "another's token is 200 without effect");
	}
	const { sessions } = (await house.get("/sessions", ada.access_token)).json<{ sessions: { id: string }[] }>();
	t.notOk(
		sessions.some(({ id }) => id === claimsOf(bob).sid),
		"nobody sees another's sessions",
	);
	t.equal(
		(await send(house, "POST", "/introspect", { token: ada.access_token, fields: { token: "x" } })).statusCode,
		403,
	);
	await untouched(t, bob, "bob's session");
	await untouched(t, ada, "ada's session");
});
