/** L22 and the decision "Same origin": the table of what may post, at /login and at /password. */
import t from "tap";
import { form, goodPassword, type TestApp, testApp } from "../support/app.ts";
import { createJar, sameOrigin } from "../support/jar.ts";

type Headers = Record<string, string>;
const host = "login.example.com";
const own = `https://${host}`;
const plain = `http://${host}`;

/** What the browser or the program says of itself, and whether it may post. */
const table: [string, Headers, boolean][] = [
	["neither header: a program", {}, true],
	["the same origin", { "sec-fetch-site": "same-origin", origin: own }, true],
	["a person's own doing", { "sec-fetch-site": "none" }, true],
	["another site", { "sec-fetch-site": "cross-site" }, false],
	["another site under our origin", { "sec-fetch-site": "cross-site", origin: own }, false],
	[
		"another site under an allowed origin",
		{ "sec-fetch-site": "cross-site", origin: "https://app.example.com" },
		false,
	],
	["another host of our site", { "sec-fetch-site": "same-site", origin: own }, false],
	["an unknown word", { "sec-fetch-site": "other" }, false],
	["an empty word", { "sec-fetch-site": "" }, false],
	["two words", { "sec-fetch-site": "same-origin, cross-site" }, false],
	["upper case", { "sec-fetch-site": "Same-Origin" }, false],
	["our origin, https", { origin: own }, true],
	["our origin, http", { origin: plain }, true],
	["an allowed origin", { origin: "https://app.example.com" }, true],
	["an allowed origin, other scheme", { origin: "http://app.example.com" }, false],
	["an allowed origin, other port", { origin: "https://app.example.com:8443" }, false],
	["evil", { origin: "https://evil.example" }, false],
	["null", { origin: "null" }, false],
	["empty", { origin: "" }, false],
	["our host as its beginning", { origin: `https://${host}.evil.example` }, false],
	["our host as its end", { origin: `https://evil-${host}` }, false],
	["our host as user name", { origin: `https://${host}@evil.example` }, false],
	["our host in the path", { origin: `https://evil.example/${host}` }, false],
	["our host with a path", { origin: `${own}/` }, false],
	["another port", { origin: `${own}:8443` }, false],
	["two origins", { origin: `${own}, https://evil.example` }, false],
	["no scheme", { origin: host }, false],
	["javascript", { origin: "javascript:alert(1)" }, false],
	[
		"a proxy's word, but no proxy is trusted",
		{ origin: "https://evil.example", "x-forwarded-host": "evil.example" },
		false,
	],
];

const send = ({ app }: TestApp, url: string, fields: Record<string, string>, headers: Headers) => {
	const body = form(fields);
	return app.inject({ method: "POST", url, payload: body.payload, headers: { ...body.headers, host, ...headers } });
};

t.test("same origin", async (t) => {
	const settings = { ALLOWED_ORIGINS: "https://app.example.com" };
	const house = await testApp(t, { settings });
	const token = await house.tokenFor("root");
	const work = () => house.services.passwords.stats().work.verify;

	await t.test("L22: a page of another site cannot log anybody in", async (t) => {
		for (const [what, headers, passes] of table) {
			const before = work();
			const answer = await send(house, "/login", { username: "root", password: goodPassword }, headers);
			t.equal(answer.statusCode, passes ? 200 : 403, what);
			t.equal(answer.headers["set-cookie"], undefined);
			t.equal(answer.headers["access-control-allow-origin"], undefined);
			if (passes) continue;
			t.match(answer.json(), { code: "CROSS_ORIGIN_REFUSED" }, what);
			t.notMatch(answer.body, /access_token/);
			t.equal(work(), before, `${what}: no hash`);
		}
	});

	await t.test("and cannot change a password, whatever token it got hold of", async (t) => {
		for (const [what, headers, passes] of table) {
			const fields = { current_password: goodPassword, new_password: "short" };
			const answer = await send(house, "/password", fields, { ...headers, authorization: `Bearer ${token}` });
			t.match(answer.json(), { code: passes ? "WEAK_PASSWORD" : "CROSS_ORIGIN_REFUSED" }, what);
		}
	});

	await t.test("what only reads is not concerned", async (t) => {
		const headers = { host, "sec-fetch-site": "cross-site", origin: "https://evil.example" };
		for (const method of ["GET", "HEAD"] as const) {
			const answer = await house.app.inject({ method, url: "/.well-known/jwks.json", headers });
			t.equal(answer.statusCode, 200, method);
			t.equal(answer.headers["access-control-allow-origin"], undefined, "nor may another site's script read it");
		}
	});
});

t.test("L22: X-Forwarded-Host counts from a trusted proxy alone", async (t) => {
	const house = await testApp(t, { settings: { TRUST_PROXY: "127.0.0.1" } });
	const fields = { username: "root", password: goodPassword };
	const headers = { host: "10.0.0.7:3000", "x-forwarded-host": "public.example", origin: "https://public.example" };
	t.equal((await send(house, "/login", fields, headers)).statusCode, 200);
	const direct = { ...headers, host: "public.example", "x-forwarded-host": "other.example" };
	t.equal((await send(house, "/login", fields, direct)).statusCode, 403);
});

t.test("C09: a Bearer token beside the cookies of another session needs the value that came with it", async (t) => {
	const house = await testApp(t, { settings: { TOKEN_LOCATIONS: "header,cookie" } });
	const jar = createJar(house);
	await jar.login("root");
	const { access_token: token, csrf_token: value } = (await house.login("root")).json();
	const logout = (csrf: string) =>
		jar.send("/logout", { headers: { ...sameOrigin, authorization: `Bearer ${token}`, "x-csrf-token": csrf } });
	t.match((await logout(jar.csrf())).json(), { code: "CSRF_TOKEN_MISMATCH" }, "not that of the cookies");
	t.equal((await logout(value)).statusCode, 204);
	t.equal((await jar.get("/protected")).statusCode, 200, "the other session goes on");
});

t.test("a route that also reads is not concerned where it is read", async (t) => {
	const house = await testApp(t, {
		extend: (app) =>
			void app.route({
				method: ["GET", "POST"],
				url: "/both",
				config: { access: "public" },
				handler: async () => ({}),
			}),
	});
	const headers = { host, "sec-fetch-site": "cross-site" };
	t.equal((await house.app.inject({ method: "GET", url: "/both", headers })).statusCode, 200);
	t.equal((await house.app.inject({ method: "POST", url: "/both", headers })).statusCode, 403);
});
