/** C01, C06, C07, C10 and F13: which cookies there are, that browsers keep them, and that a failure takes none away. */

import type { Test } from "tap";
import t from "tap";
import { joinParts, partsOf } from "../../src/cookies.ts";
import { type TestApp, type TestAppOptions, testApp } from "../support/app.ts";
import { createJar, setCookies } from "../support/jar.ts";

const settings = { TOKEN_LOCATIONS: "header,cookie" };
const house = (t: Test, options: TestAppOptions = {}) =>
	testApp(t, { ...options, settings: { ...settings, ...options.settings } });

const common = { path: "/", secure: "" };
const attributes: Record<string, Record<string, string>> = {
	"__Host-access": { ...common, httponly: "", samesite: "Lax" },
	"__Host-access.1": { ...common, httponly: "", samesite: "Lax" },
	"__Host-access.2": { ...common, httponly: "", samesite: "Lax" },
	"__Host-refresh": { ...common, httponly: "", samesite: "Strict" },
	"__Host-csrf": { ...common, samesite: "Strict" },
	"__Host-device": { ...common, httponly: "", samesite: "Strict" },
};

/** Gives an account this many roles, each with a permission. */
async function giveRoles({ services }: TestApp, userId: string, count: number): Promise<void> {
	const { store, permissions } = services;
	const roles = Array.from({ length: count }, (_, index) => `regional-team-${index + 1}`);
	await store.transaction(async (transaction) => {
		for (const name of roles)
			await transaction
				.insertInto("roles")
				.values({ name })
				.onConflict((conflict) => conflict.doNothing())
				.execute();
		await permissions.assign(transaction, userId, roles);
	});
}

t.test(
	"C01, C10: every cookie is __Host-, Secure, for every path, without Domain, and cleared as it was set",
	async (t) => {
		const { app, ...rest } = await house(t);
		const jar = createJar({ app, ...rest });
		const set: [string, string[]][] = [
			["/login", ["__Host-access", "__Host-refresh", "__Host-csrf", "__Host-device"]],
			["/refresh", ["__Host-access", "__Host-refresh", "__Host-csrf"]],
			["/reauthenticate", ["__Host-access", "__Host-csrf"]],
		];
		for (const [url, names] of set) {
			const fields = { username: "root", password: "copper thistle meridian 2718", delivery: "cookie" };
			const { username: _, delivery: __, ...password } = fields;
			const sent = url === "/login" ? fields : url === "/refresh" ? {} : password;
			const answer = await jar.post(url, { fields: sent });
			t.equal(answer.statusCode, 200, `${url} ${answer.body}`);
			t.notOk(/token":"ey/.test(answer.body), "the tokens are in the cookies alone");
			t.equal(answer.headers["cache-control"], "no-store");
			const found = setCookies(answer);
			t.same(found.map(({ name }) => name).sort(), [...names].sort(), url);
			for (const { name, attributes: given } of found) {
				const { "max-age": seconds, ...others } = given;
				t.same(others, attributes[name], `${url}: ${name}`);
				t.ok(Number(seconds) > 0, `${url}: ${name} ends with its token`);
			}
			t.equal(answer.json<{ csrf_token: string }>().csrf_token, jar.csrf(), "a program reads the value in the answer");
		}
		t.equal((await jar.get("/me")).json<{ username: string }>().username, "root");
		for (const url of ["/logout", "/logout/all"]) {
			if (!jar.csrf()) await jar.login("root");
			const answer = await jar.post(url);
			t.equal(answer.statusCode, 204, url);
			const found = setCookies(answer);
			// The device is still known after a logout, and nobody's after a logout everywhere.
			const kept = url === "/logout" ? ["__Host-device"] : [];
			const taken = Object.keys(attributes).filter((name) => !kept.includes(name));
			t.same(found.map(({ name }) => name).sort(), taken.sort(), `C10: ${url} takes back every cookie`);
			for (const { name, value, attributes: given } of found) {
				const { "max-age": seconds, expires, ...others } = given;
				t.same({ value, seconds, expires: new Date(expires ?? "").getTime() }, { value: "", seconds: "0", expires: 0 });
				t.same(others, attributes[name], `${url}: ${name} with the attributes it was set with`);
			}
			t.same([...jar.cookies.keys()], kept, "C10: nothing is left in the browser that opens anything");
			t.equal((await jar.get("/me")).statusCode, 401);
		}
	},
);

t.test("cookies are off unless they are asked for, at the start and at the login", async (t) => {
	const off = await testApp(t);
	const refused = await createJar(off).login("root");
	t.match(refused.json(), { code: "VALIDATION_FAILED" });
	t.equal(refused.headers["set-cookie"], undefined);
	const token = await off.tokenFor("root");
	const sent = await off.app.inject({ url: "/me", headers: { cookie: `__Host-access=${token}` } });
	t.equal(sent.json<{ code: string }>().code, "AUTHENTICATION_REQUIRED", "and none is read");
	const on = await house(t);
	t.equal((await on.login("root")).headers["set-cookie"], undefined, "a login that does not say so gets a body");
});

t.test("C06: a cookie that comes twice is refused in either order, and so is a part of one", async (t) => {
	const on = await house(t);
	const jar = createJar(on);
	await jar.login("root");
	const good = jar.header();
	for (const name of Object.keys(attributes))
		for (const planted of [`${name}=evil`, `${name}=`, name, `  ${name} =evil`]) {
			for (const cookie of [`${planted}; ${good}; ${planted}`, `${good}; ${planted}; ${planted}`]) {
				const answer = await jar.get("/me", { cookie });
				t.match(answer.json(), { statusCode: 400, code: "MALFORMED_REQUEST" }, `${planted} twice`);
			}
			if (!jar.cookies.has(name)) continue;
			for (const cookie of [`${planted}; ${good}`, `${good}; ${planted}`])
				t.equal((await jar.get("/me", { cookie })).statusCode, 400, `${planted} beside the good one`);
		}
	t.equal(
		(await jar.get("/me", { cookie: `${good}; __host-access=evil; access=evil` })).statusCode,
		200,
		"other names",
	);
});

t.test("C07: an account with 200 roles gets cookies that a browser keeps", async (t) => {
	const on = await house(t);
	const id = await on.addUser("ada");
	await giveRoles(on, id, 200);
	const jar = createJar(on);
	const answer = await jar.login("ada");
	t.equal(answer.statusCode, 200);
	for (const { name, value } of setCookies(answer)) t.ok(name.length + value.length < 4096, `${name} is kept`);
	const read = async () => (await jar.get("/me")).json<{ roles: string[] }>().roles?.length;
	t.equal(await read(), 200, "and all roles count");
	t.ok(jar.cookies.has("__Host-access.1"), "two cookies carry the token");

	const stale = jar.cookies.get("__Host-access.1") ?? "";
	await giveRoles(on, id, 2);
	await jar.post("/refresh");
	t.notOk(jar.cookies.has("__Host-access.1"), "a shorter token takes the other cookie back");
	t.equal(await read(), 2);
	jar.cookies.set("__Host-access.1", stale);
	t.equal(await read(), 2, "and where a browser kept it, it is not glued on");
	jar.cookies.delete("__Host-access");
	t.equal((await jar.get("/me")).statusCode, 401, "nor is it a token alone");
});

t.test("C07: a token of any length comes back from its cookies as it was", async (t) => {
	for (const length of [1, 3999, 4000, 4001, 7999, 8000, 8001, 8192]) {
		const token = "abcdefghij".repeat(820).slice(0, length);
		const parts = partsOf("access", token);
		t.equal(
			joinParts("access", Object.fromEntries(parts.map(({ name, part }) => [name, part]))),
			token,
			String(length),
		);
		for (const { name, part } of parts) t.ok(name.length + part.length < 4096);
	}
});

t.test("C07: a token that no door would take is not given out", async (t) => {
	const on = await house(t);
	const id = await on.addUser("ada");
	const jar = createJar(on);
	await jar.login("ada");
	await giveRoles(on, id, 700);
	for (const [url, answer] of [
		["/login, cookies", await createJar(on).login("ada")],
		["/login, body", await on.login("ada")],
		["/refresh", await jar.post("/refresh")],
	] as const) {
		t.match(answer.json(), { statusCode: 403, code: "TOO_MANY_ROLES" }, url);
		t.equal(answer.headers["set-cookie"], undefined, `${url}: no cookie`);
		t.notMatch(answer.body, /access_token/);
	}
	await giveRoles(on, id, 3);
	t.equal((await jar.post("/refresh")).statusCode, 200, "with fewer roles it goes on");
});

t.test("F13: of two refreshes with one jar the loser, answered last, leaves a jar that works", async (t) => {
	const on = await house(t);
	const jar = createJar(on);
	await jar.login("root");
	const headers = { "sec-fetch-site": "same-origin", "x-csrf-token": jar.csrf() };
	const [winner, loser] = [await jar.send("/refresh", { headers }), await jar.send("/refresh", { headers })];
	t.equal(winner.statusCode, 200);
	t.equal(loser.statusCode, 200);
	const refreshOf = (answer: typeof winner) => setCookies(answer).find(({ name }) => name === "__Host-refresh")?.value;
	t.equal(refreshOf(winner), refreshOf(loser), "both got the same successor");
	jar.take(winner);
	jar.take(loser);
	t.equal((await jar.get("/me")).statusCode, 200);
	t.equal((await jar.post("/refresh")).statusCode, 200, "and it refreshes again");
});

t.test("F13: a refresh that fails never touches a cookie", async (t) => {
	const on = await house(t);
	const jar = createJar(on);
	await jar.login("root");
	const first = jar.header();
	const own = { "sec-fetch-site": "same-origin", "x-csrf-token": jar.csrf() };
	const untouched = (answer: { statusCode: number; headers: object }, statusCode: number, what: string) => {
		t.equal(answer.statusCode, statusCode, what);
		t.notOk("set-cookie" in answer.headers, `${what}: no Set-Cookie`);
		t.notOk("clear-site-data" in answer.headers, `${what}: no Clear-Site-Data`);
	};
	untouched(await jar.send("/refresh", { headers: { "sec-fetch-site": "same-origin" } }), 403, "without the value");
	untouched(await jar.send("/refresh", { headers: { ...own, cookie: "__Host-refresh=x" } }), 401, "a forged token");
	const failing = on.services.sessions.advance;
	on.services.sessions.advance = async () => {
		throw new Error("the store went away");
	};
	untouched(await jar.send("/refresh", { headers: own }), 500, "a fault");
	on.services.sessions.advance = failing;
	t.equal((await jar.post("/refresh")).statusCode, 200, "the jar still works after all of them");
	await jar.post("/refresh");
	on.clock.advance(11);
	untouched(await jar.send("/refresh", { headers: { ...own, cookie: first } }), 401, "a token that was used before");
});
