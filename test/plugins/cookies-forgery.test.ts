/** C02, C03, C05, C08 and C09: what another page, or another session, cannot do with the cookies of a browser. */
import t from "tap";
import { deriveKeys } from "../../src/secret.ts";
import { createCsrf } from "../../src/sessions/csrf.ts";
import { goodPassword, type TestApp, testApp } from "../support/app.ts";
import { createJar, type Jar, type Post, sameOrigin } from "../support/jar.ts";

/** Every route that changes something for a cookie, with a body that would be accepted. */
const doors: [url: string, post: Post][] = [
	["/refresh", {}],
	["/logout", {}],
	["/logout/all", {}],
	["/password", { fields: { current_password: goodPassword, new_password: "walnut harbour lantern 3141" } }],
	["/reauthenticate", { fields: { password: goodPassword } }],
	["/revoke", { fields: { token: "x" } }],
	["/introspect", { fields: { token: "x" } }],
	["/sessions/AAAAAAAAAAAAAAAAAAAAAA", { method: "DELETE" }],
	["/sessions/AAAAAAAAAAAAAAAAAAAAAA/end", {}],
];

const host = "localhost:80";
const own = `http://${host}`;

const open = async (t: Parameters<typeof testApp>[0], settings: Record<string, string> = {}) => {
	const house = await testApp(t, { settings: { TOKEN_LOCATIONS: "header,cookie", ...settings } });
	const { store } = house.services;
	const permission = { role: "admin", permission: "tokens:introspect" };
	await store.db
		.insertInto("role_permissions")
		.values(permission)
		.onConflict((conflict) => conflict.doNothing())
		.execute();
	const jar = createJar(house);
	await jar.login("root");
	return { ...house, jar };
};

/** Whether nothing has happened: the session lives, with the token it had. */
const alive = async (jar: Jar): Promise<boolean> => (await jar.get("/sessions")).statusCode === 200;

async function everyDoor(
	t: Parameters<typeof testApp>[0],
	jar: Jar,
	headers: Record<string, string>,
	expected: { statusCode: number; code: string },
	what: string,
): Promise<void> {
	for (const [url, post] of doors) {
		const answer = await jar.send(url, { ...post, headers });
		t.match(answer.json(), expected, `${what}: ${post.method ?? "POST"} ${url}`);
		t.notOk("set-cookie" in answer.headers, `${what}: ${url} sets no cookie`);
	}
	t.ok(await alive(jar), `${what}: the session goes on`);
}

t.test("C02: a cookie changes nothing for a page of another site", async (t) => {
	const { jar } = await open(t);
	const refused = { statusCode: 403, code: "CROSS_ORIGIN_REFUSED" };
	const value = { "x-csrf-token": jar.csrf() };
	const origins = ["https://evil.example", "null", "", "https://localhost.evil", `${own}.evil.example`];
	const tricks = [`http://evil-${host}`, `http://${host}@evil.example`, `${own}/`, `${own}, https://evil.example`];
	for (const origin of [...origins, ...tricks])
		await everyDoor(t, jar, { ...value, origin }, refused, origin || "empty");
	for (const site of ["cross-site", "same-site", "", "Same-Origin"])
		await everyDoor(t, jar, { ...value, "sec-fetch-site": site, origin: own }, refused, `Sec-Fetch-Site ${site}`);
	await everyDoor(t, jar, value, refused, "neither Origin nor Sec-Fetch-Site");
});

t.test(
	"C02: nor for a page of this site that does not know the session, and the error says what is missing",
	async (t) => {
		const { jar } = await open(t);
		const missing = { statusCode: 403, code: "CSRF_TOKEN_REQUIRED" };
		await everyDoor(t, jar, sameOrigin, missing, "no value");
		await everyDoor(t, jar, { ...sameOrigin, "x-csrf-token": "" }, missing, "an empty value");
	},
);

t.test("C08: the value of another session is refused, and so is anything that is not this session's", async (t) => {
	const { jar, addUser, ...rest } = await open(t);
	const mismatch = { statusCode: 403, code: "CSRF_TOKEN_MISMATCH" };
	const house = { addUser, ...rest } as TestApp;
	await addUser("ada");
	const [other, second] = [createJar(house), createJar(house)];
	await other.login("ada");
	await second.login("root");
	const good = jar.csrf();
	const values = { "another account": other.csrf(), "another session of this account": second.csrf() };
	for (const [what, value] of Object.entries(values))
		await everyDoor(t, jar, { ...sameOrigin, "x-csrf-token": value }, mismatch, what);
	for (const value of [good.slice(1), `${good}x`, good.toUpperCase(), `${good}=`, "x"])
		t.match((await jar.send("/logout", { headers: { ...sameOrigin, "x-csrf-token": value } })).json(), mismatch, value);
	// A planted cookie with the planted value beside it: the value is bound to the session, not to the cookie.
	jar.cookies.set("__Host-csrf", "planted");
	t.match((await jar.post("/logout")).json(), mismatch, "planted twice");
	t.equal(
		(await jar.send("/refresh", { fields: { csrf_token: good }, headers: sameOrigin })).statusCode,
		200,
		"a field",
	);
});

t.test("C08: a value under the secret before this one still counts", async (t) => {
	const { services, jar } = await open(t);
	const previous = "b2xkZXIgc2VjcmV0LCBzdGlsbCBhY2NlcHRlZCBoZXJl9999";
	const sessionId = services.refresh.sessionIdOf(jar.cookies.get("__Host-refresh") ?? "") ?? "";
	const under = (config: Parameters<typeof deriveKeys>[0]) => createCsrf(deriveKeys(config, "csrf"));
	const before = under({ ...services.config, secret: previous });
	t.notOk(services.csrf.matches(sessionId, before.valueFor(sessionId)), "not where it is not set");
	const both = under({ ...services.config, secretPrevious: previous });
	t.ok(both.matches(sessionId, before.valueFor(sessionId)));
	t.ok(both.matches(sessionId, services.csrf.valueFor(sessionId)));
});

t.test("C09: a Bearer header beside the cookie does not switch the checks off", async (t) => {
	const { jar, tokenFor } = await open(t);
	const foreign = { origin: "https://evil.example" };
	for (const authorization of ["Bearer x", "Bearer ", "Bearer", "bearer a b", "Basic eDp4", "x"]) {
		for (const [url, post] of doors) {
			const theirs = await jar.send(url, { ...post, headers: { ...foreign, authorization } });
			t.equal(theirs.statusCode, 403, `${authorization}: another site at ${url}`);
			const ours = await jar.send(url, { ...post, headers: { ...sameOrigin, authorization } });
			t.ok([401, 403].includes(ours.statusCode), `${authorization}: without the value at ${url}`);
			t.notOk("set-cookie" in ours.headers);
		}
	}
	const token = await tokenFor("root");
	const both = { ...sameOrigin, authorization: `Bearer ${token}` };
	t.match((await jar.send("/logout", { headers: both })).json(), { code: "CSRF_TOKEN_REQUIRED" }, "a good header too");
	const value = { "x-csrf-token": jar.csrf() };
	t.match(
		(await jar.send("/logout", { headers: { ...both, ...value } })).json(),
		{ code: "CSRF_TOKEN_MISMATCH" },
		"the header is the credential, so the value has to be of its session",
	);
	t.ok(await alive(jar));
});

t.test("C03: what a form of another site can send without asking is not taken as something else", async (t) => {
	const { jar } = await open(t);
	const headers = { ...sameOrigin, "x-csrf-token": jar.csrf() };
	for (const type of ["text/plain", "multipart/form-data; boundary=x", "text/xml", "application/json, text/plain"])
		for (const [url, { method }] of doors) {
			if (method === "DELETE") continue;
			const payload = '{"password":"x"}';
			const answer = await jar.send(url, { payload, headers: { ...headers, "content-type": type } });
			t.match(answer.json(), { statusCode: 415, code: "UNSUPPORTED_MEDIA_TYPE" }, `${type} at ${url}`);
		}
	t.ok(await alive(jar));
});

t.test("C05: no other origin may read anything: no answer has a header of CORS", async (t) => {
	const { jar, app } = await open(t, { ALLOWED_ORIGINS: "https://app.example.com" });
	const origins = ["https://evil.example", "null", own, "https://app.example.com", "http://localhost:5173"];
	for (const origin of origins)
		for (const url of ["/login", "/refresh", "/me", "/.well-known/jwks.json", "/sessions", "/nothing"]) {
			const preflight = {
				origin,
				"access-control-request-method": "POST",
				"access-control-request-headers": "authorization, x-csrf-token",
			};
			const answers = [
				await app.inject({ method: "OPTIONS", url, headers: preflight }),
				await jar.get(url, { origin }),
				await jar.send(url, { headers: { origin } }),
			];
			t.ok((answers[0]?.statusCode ?? 0) >= 400, `no preflight of ${origin} at ${url} is answered`);
			for (const { headers } of answers)
				t.same(
					Object.keys(headers).filter((name) => name.startsWith("access-control-")),
					[],
					`${origin} at ${url}`,
				);
		}
});
