/** The login page: what it is made of, how it refuses, and that programs notice nothing of it. */
import { createHash } from "node:crypto";
import t from "tap";
import { errors } from "../../src/errors.ts";
import { goodPassword, testApp } from "../support/app.ts";
import { createJar, type Jar, sameOrigin, setCookies } from "../support/jar.ts";

const settings = { TOKEN_LOCATIONS: "header,cookie" };
const accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/** Posts the form as a browser does. */
const submit = (jar: Jar, fields: Record<string, string>, headers: Record<string, string> = {}) =>
	jar.post("/login", { fields: { delivery: "cookie", ...fields }, headers: { accept, ...headers } });

t.test("where cookies are off there are no pages", async (t) => {
	const { app } = await testApp(t);
	const codes = [
		["GET", "/login", 405],
		["GET", "/", 404],
		["POST", "/sessions/x/end", 404],
	] as const;
	for (const [method, url, statusCode] of codes) {
		const answer = await app.inject({ method, url, headers: { accept } });
		t.equal(answer.statusCode, statusCode, `${method} ${url}`);
		t.match(answer.headers["content-type"], "application/json");
	}
	const refused = await app.inject({ method: "POST", url: "/login", headers: { accept }, payload: { username: "x" } });
	t.match(refused.headers["content-type"], "application/json", "nor in place of a refusal");
});

t.test("the page is one plain form for password managers, under a strict policy", async (t) => {
	const { app } = await testApp(t, { settings: { ...settings, REDIRECT_HOSTS: "app.example.com,.apps.example.com" } });
	const { headers, body, statusCode } = await app.inject({ url: "/login?next=/me", headers: { accept } });
	t.equal(statusCode, 200);
	t.match(headers, {
		"content-type": "text/html; charset=utf-8",
		"content-language": "en",
		"cache-control": "no-store",
		"x-content-type-options": "nosniff",
		"referrer-policy": "same-origin",
	});
	t.match(headers.vary, /Accept-Language.*Accept/);
	const style = /<style>([\s\S]*)<\/style>/.exec(body)?.[1] ?? "";
	const hash = createHash("sha256").update(style).digest("base64");
	t.same(String(headers["content-security-policy"]).split("; "), [
		"default-src 'none'",
		`style-src 'sha256-${hash}'`,
		"form-action 'self' https://app.example.com https://*.apps.example.com",
		"frame-ancestors 'none'",
		"base-uri 'none'",
	]);
	t.notMatch(body, /<script|\son\w+=|\sstyle=|<img|<link|https?:/i, "no script, nothing loaded, nothing inline");
	t.equal(body.match(/<form/g)?.length, 1);
	t.match(body, '<html lang="en">');
	t.match(body, '<form class="login" method="post" action="/login">');
	t.match(body, '<label for="username">Username</label>');
	t.match(body, '<label for="password">Password</label>');
	t.match(body, /<input id="username" name="username" [^>]*type="text" autocomplete="username"/);
	t.match(body, /<input id="password" name="password" type="password" autocomplete="current-password"/);
	t.match(body, '<input type="hidden" name="next" value="/me">');
	t.notMatch(body, /maxlength|onpaste|autocomplete="off"/, "passwords of any length can be pasted");
	t.equal((await app.inject({ method: "HEAD", url: "/login" })).statusCode, 200);
	const korean = await app.inject({ url: "/login", headers: { accept, "accept-language": "ko-KR,ko;q=0.9" } });
	t.equal(korean.headers["content-language"], "ko");
	t.match(korean.body, '<html lang="ko">');
	t.match(korean.body, '<label for="password">비밀번호</label>');
});

t.test("L23: the page takes nothing but next from its address", async (t) => {
	const { app } = await testApp(t, { settings });
	for (const query of ["username=ada&password=x", "next=/&next=//evil", "x"]) {
		const answer = await app.inject({ url: `/login?${query}`, headers: { accept } });
		t.equal(answer.statusCode, 400, query);
		t.match(answer.body, "<form", "and still shows the form");
		t.notMatch(answer.body, /ada|evil/);
	}
	const hostile = await app.inject({ url: `/login?next=${encodeURIComponent('/"><script>')}` });
	t.match(hostile.body, 'name="next" value="/"', "what is unclear leads to the start");
	const jar = createJar({ app });
	const answer = await jar.post("/login?next=/me", { fields: { username: "root", password: goodPassword } });
	t.equal(answer.statusCode, 400, "POST /login takes no query at all");
});

t.test("a refusal is the form again, with the error in words, the name and never the password", async (t) => {
	const house = await testApp(t, { settings });
	const jar = createJar(house);
	const secret = "a very Secret one 12345";
	const hostile = `"><script>alert(1)</script>`;
	const cases: [Record<string, string>, number, RegExp][] = [
		[{ username: "root", password: secret }, 401, /The username or the password is wrong\./],
		[{ username: "nobody", password: secret }, 401, /The username or the password is wrong\./],
		[{ username: hostile, password: secret }, 400, /A username has 1 to 64 letters/],
		[{ username: "root", password: "" }, 400, /This cannot be your password/],
		[{ username: "root", password: `${secret}\0` }, 400, /This cannot be your password/],
		[{ username: "root" }, 400, /That did not work/],
		[{ username: "root", password: secret, role: "admin" }, 400, /That did not work/],
	];
	for (const [fields, statusCode, words] of cases) {
		const answer = await submit(jar, { ...fields, next: "/me" });
		t.equal(answer.statusCode, statusCode, JSON.stringify(fields));
		t.match(answer.headers["content-type"], "text/html");
		t.match(answer.headers["cache-control"], "no-store");
		t.match(answer.body, words);
		t.match(answer.body, /<p class="problem" id="problem" role="alert">/);
		t.equal(answer.body.match(/aria-describedby="problem"/g)?.length, 2, "both fields name the error");
		t.match(answer.body, "<title>Error: Log in", "and so does the title");
		t.match(answer.body, 'name="next" value="/me"', "it still leads to the same place");
		t.notMatch(answer.body, new RegExp(`${secret}|${"<script"}`), "L28: never the password, and nothing unescaped");
		const name = (fields.username ?? "").replaceAll('"', "&quot;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
		t.ok(answer.body.includes(`name="username" value="${name}"`), "the name is kept");
		t.equal(answer.headers["set-cookie"], undefined);
	}
	const korean = await submit(jar, { username: "root", password: secret }, { "accept-language": "ko" });
	t.match(korean.body, "사용자 이름 또는 비밀번호가 올바르지 않습니다.");
	t.equal(
		house.logged.filter(({ msg }) => /refused$/.test(String(msg))).length,
		cases.length + 1,
		"each is in the log",
	);
	t.notOk(house.rawLog().includes(secret));
});

t.test("L01: the page tells unknown names from wrong passwords no more than the JSON does", async (t) => {
	const house = await testApp(t, { settings });
	await house.addUser("ada");
	const bob = await house.addUser("bob");
	await house.services.users.setDisabled(bob, true);
	const shown = async (username: string) => {
		const { statusCode, headers, body } = await submit(createJar(house), { username, password: "wrong wrong wrong" });
		const { "x-request-id": _, date: __, "content-length": ___, ...rest } = headers;
		return { statusCode, headers: rest, body: body.replaceAll(`"${username}"`, "") };
	};
	const expected = await shown("ada");
	t.same(await shown("nobody"), expected);
	t.same(await shown("bob"), expected);
});

t.test("a busy service, one without its store, and a page of another site are refused in words as well", async (t) => {
	const house = await testApp(t, { settings });
	const jar = createJar(house);
	const { credentials, passwords, users } = house.services;
	const { assertRoom } = passwords;
	const { findCredentials } = users;
	const refuse = (code: "BUSY" | "STORE_UNAVAILABLE") => () => {
		throw new errors[code]();
	};
	for (const [code, words] of [
		["BUSY", /Many people are logging in/],
		["STORE_UNAVAILABLE", /not available right now/],
	] as const) {
		passwords.assertRoom = code === "BUSY" ? refuse(code) : assertRoom;
		users.findCredentials = code === "BUSY" ? findCredentials : async () => refuse(code)();
		const answer = await submit(jar, { username: "root", password: goodPassword, next: "/sessions" });
		t.equal(answer.statusCode, 503);
		t.equal(answer.headers["retry-after"], "2", code);
		t.match(answer.body, words);
		t.match(answer.body, 'value="root"');
		t.match(answer.body, 'name="next" value="/sessions"');
		t.equal(answer.headers["set-cookie"], undefined, "F13");
	}
	t.match(credentials.stats().logins, { busy: 1, unavailable: 1 });
	passwords.assertRoom = assertRoom;
	users.findCredentials = findCredentials;
	const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
	const answer = await submit(jar, { username: "root", password: goodPassword }, foreign);
	t.equal(answer.statusCode, 403, "L22");
	t.match(answer.body, /sent from another website/);
	t.equal(answer.headers["set-cookie"], undefined);
});

t.test("a good login sets the cookies and goes on; programs get JSON as ever", async (t) => {
	const house = await testApp(t, { settings });
	const jar = createJar(house);
	const fields = { username: "root", password: goodPassword };
	const answer = await submit(jar, fields);
	t.equal(answer.statusCode, 303);
	t.equal(answer.headers.location, "/");
	t.equal(answer.body, "");
	t.equal(answer.headers["cache-control"], "no-store");
	t.equal(setCookies(answer).length, 4);
	t.equal((await jar.get("/login?next=/me", { accept })).headers.location, "/me", "who is logged in is sent on");
	t.equal((await jar.get("/login", { accept })).headers.location, "/");

	for (const headers of [{}, { accept: "*/*" }, { accept: "application/json" }]) {
		const given = await createJar(house).post("/login", { fields: { ...fields, delivery: "cookie" }, headers });
		t.equal(given.statusCode, 200, JSON.stringify(headers));
		t.type(given.json<{ csrf_token: string }>().csrf_token, "string");
		const refused = await createJar(house).send("/login", { fields: { username: "root", password: "x" }, headers });
		t.match(refused.json(), { code: "INVALID_CREDENTIALS" });
	}
	const body = await createJar(house).send("/login", { fields, headers: { ...sameOrigin, accept } });
	t.ok(body.json<{ access_token: string }>().access_token, "nor is a form meant that asks for no cookies");
	const refused = await createJar(house).send("/login", { fields: { ...fields, password: "x" }, headers: { accept } });
	t.match(refused.json(), { code: "INVALID_CREDENTIALS" });
});
