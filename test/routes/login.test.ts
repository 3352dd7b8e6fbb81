/** `POST /login` through the front door, on both stores: rows L01 to L05, L08, L09, L13, L18, L20, L23, L24, L26 to L29. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LightMyRequestResponse } from "fastify";
import t, { type Test } from "tap";
import { form, goodPassword, type TestApp, testApp } from "../support/app.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

const formType = "application/x-www-form-urlencoded";

/** Posts a body as it stands. */
const post = ({ app }: TestApp, payload: string, contentType: string | undefined = formType, url = "/login") =>
	app.inject({
		method: "POST",
		url,
		payload,
		headers: contentType === undefined ? {} : { "content-type": contentType },
	});

/** Everything a client can tell two answers apart by. */
function visible({ statusCode, headers, body }: LightMyRequestResponse) {
	const { date, "x-request-id": id, ...rest } = headers;
	return { statusCode, headers: rest, body };
}

/** The hashes that a call takes, in units of one at the current cost. */
async function work({ services }: TestApp, call: () => Promise<unknown>): Promise<number> {
	const spent = () => {
		const { hash, verify } = services.passwords.stats().work;
		return hash + verify;
	};
	const before = spent();
	await call();
	return spent() - before;
}

function refused(t: Test, answer: LightMyRequestResponse, statusCode: number, code: string, what: string): void {
	t.match(answer.json(), { statusCode, code }, what);
	t.notMatch(answer.body, /access_token/, `${what}: no token`);
	t.equal(answer.headers["set-cookie"], undefined, `${what}: no cookie`);
}

const storedHash = async ({ services }: TestApp, username: string): Promise<string> =>
	(await services.users.findCredentials({ username }))?.password.hash ?? "";

async function rowCounts({ services: { store } }: TestApp) {
	const tables = ["users", "deleted_users", "roles", "role_permissions", "user_roles", "signing_keys"] as const;
	const counts: Record<string, number> = {};
	for (const table of tables) {
		const rows = await store.db.selectFrom(table).selectAll().execute();
		counts[table] = rows.length;
	}
	return counts;
}

/** Texts that end a string, a comment or a statement in some SQL (ASVS 1.2.4). */
const sqlTexts = [
	"' OR '1'='1",
	"' OR 1=1--",
	"admin'--",
	"admin' #",
	"admin'/*",
	'" OR ""="',
	"') OR ('1'='1",
	"' UNION SELECT 1,2,3,4,5--",
	"'; DROP TABLE users;--",
	"'; DELETE FROM users WHERE 't'='t",
	"'; UPDATE users SET password_hash='x'--",
	"1; SELECT pg_sleep(5)--",
	"' || (SELECT pg_sleep(5)) || '",
	"' AND randomblob(500000000) --",
	"\\'; SELECT 1;--",
	"%' OR '%'='",
	"root' AND password_hash LIKE '$2b$%",
	"$1",
	"?",
	":id",
];

onEachStore((kind) => {
	t.test(`${kind}: POST /login`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { addUser, login, get, services } = house;
		const id = await addUser("ada");
		await services.users.setDisabled(await addUser("dora"), true);

		await t.test("a form goes in, a token that opens a protected route comes out", async (t) => {
			const answer = await login("ada", goodPassword);
			t.equal(answer.statusCode, 200);
			t.match(answer.json(), { token_type: "Bearer", expires_in: 900 });
			const greeting = await get("/protected", answer.json().access_token);
			t.same(greeting.json(), { message: `Protected route for user: ${id}` });
		});

		await t.test("L04: JSON goes in under the same schema", async (t) => {
			const answer = await post(house, JSON.stringify({ username: "ada", password: goodPassword }), "application/json");
			t.equal(answer.statusCode, 200);
			for (const body of [
				{ username: 1, password: goodPassword },
				{ username: "ada", password: true },
				{ username: "ada", password: null },
				{ username: ["ada"], password: goodPassword },
				{ username: "ada", password: { $ne: "" } },
				{ username: "ada" },
				["ada", goodPassword],
				"ada",
				null,
			])
				refused(
					t,
					await post(house, JSON.stringify(body), "application/json"),
					400,
					"VALIDATION_FAILED",
					JSON.stringify(body),
				);
			const broken = { '{"username":"ada","password":': "cut", "": "empty", '{"a":1,"a":2}{': "two" };
			for (const [text, what] of Object.entries(broken))
				refused(t, await post(house, text, "application/json"), 400, "MALFORMED_REQUEST", what);
		});

		await t.test("L04: no other content type is taken", async (t) => {
			const fields = new URLSearchParams({ username: "ada", password: goodPassword }).toString();
			const json = JSON.stringify({ username: "ada", password: goodPassword });
			const multipart = ["--x", 'Content-Disposition: form-data; name="username"', "", "ada", "--x--", ""].join("\r\n");
			const cases: [string, string | undefined][] = [
				[fields, "text/plain"],
				[json, "text/plain"],
				[json, "text/json"],
				[json, "application/vnd.api+json"],
				[multipart, "multipart/form-data; boundary=x"],
				["<login><username>ada</username></login>", "application/xml"],
				[fields, "application/octet-stream"],
				[fields, "*/*"],
				[fields, ""],
			];
			for (const [payload, type] of cases)
				refused(t, await post(house, payload, type), 415, "UNSUPPORTED_MEDIA_TYPE", String(type));
			const untyped = await house.app.inject({ method: "POST", url: "/login", payload: fields });
			refused(t, untyped, 415, "UNSUPPORTED_MEDIA_TYPE", "no type");
		});

		await t.test("L01, L02: unknown, wrong and disabled get the same answer for the same work", async (t) => {
			const kinds: Record<string, [string, string]> = {
				"unknown user": ["nobody", goodPassword],
				"wrong password": ["ada", "copper thistle meridian 2719"],
				"disabled, right password": ["dora", goodPassword],
				"disabled, wrong password": ["dora", "wrong"],
				"unknown user, long password": ["nobody", "long ".repeat(40)],
				"wrong long password": ["ada", "long ".repeat(40)],
			};
			const answers = new Map<string, ReturnType<typeof visible>>();
			for (const [what, [username, password]] of Object.entries(kinds)) {
				const spent = await work(house, async () => answers.set(what, visible(await login(username, password))));
				t.equal(spent, 1, `${what}: one hash at the current cost`);
			}
			const [first, ...others] = answers.values();
			t.match(first, { statusCode: 401, headers: { "www-authenticate": "Bearer", "cache-control": "no-store" } });
			t.equal(
				first?.body,
				'{"statusCode":401,"code":"INVALID_CREDENTIALS","error":"Unauthorized","message":"Invalid credentials"}',
			);
			for (const other of others) t.strictSame(other, first);
		});

		await t.test("L02, L09: a password that cannot be one is 400 before any hash, known user or not", async (t) => {
			const passwords = {
				empty: "",
				"1,025 bytes": "a".repeat(1025),
				"NUL before": `%00${goodPassword}`,
				"NUL in the middle": `${goodPassword}%00${goodPassword}`,
				"NUL at the end": `${goodPassword}%00`,
				newline: `${goodPassword}%0a`,
			};
			for (const [what, password] of Object.entries(passwords)) {
				const answers: ReturnType<typeof visible>[] = [];
				const spent = await work(house, async () => {
					for (const name of ["ada", "nobody", "dora"])
						answers.push(visible(await post(house, `username=${name}&password=${password.replaceAll(" ", "+")}`)));
				});
				t.equal(spent, 0, `${what}: no hash`);
				t.match(answers[0], { statusCode: 400, body: /"INVALID_PASSWORD"/ }, what);
				for (const answer of answers) t.strictSame(answer, answers[0], `${what}: alike for every username`);
			}
		});

		await t.test("L09: NUL, lone surrogates and broken UTF-8 are 400 in either field", async (t) => {
			const spent = await work(house, async () => {
				for (const text of ["%00ada", "a%00da", "ada%00"])
					refused(t, await post(house, `username=${text}&password=x`), 400, "INVALID_USERNAME", text);
				for (const text of ["%ed%a0%80", "%ff", "%c3", "%c0%80"]) {
					refused(t, await post(house, `username=ada${text}&password=x`), 400, "MALFORMED_REQUEST", text);
					refused(t, await post(house, `username=ada&password=${text}`), 400, "MALFORMED_REQUEST", text);
				}
				const surrogate = '"\\ud800"';
				const name = await post(house, `{"username":${surrogate},"password":"x"}`, "application/json");
				refused(t, name, 400, "INVALID_USERNAME", "lone surrogate as username");
				const password = await post(house, `{"username":"ada","password":${surrogate}}`, "application/json");
				refused(t, password, 400, "INVALID_PASSWORD", "lone surrogate as password");
			});
			t.equal(spent, 0, "no hash");
		});

		await t.test("L05, L23: one reading of the fields, and none of them from the URL", async (t) => {
			const good = new URLSearchParams({ username: "ada", password: goodPassword }).toString();
			for (const body of [
				`username=nobody&${good}`,
				`${good}&username=ada`,
				`${good}&password=x`,
				`${good}&user%6eame=ada`,
				good.replace("username", "username[]"),
				good.replace("username", "username[0]"),
				good.replace("username", "username.x"),
				good.replace("username", "Username"),
				`${good}&`,
				`${good};a=b&a=b`,
			])
				refused(t, await post(house, body), 400, "VALIDATION_FAILED", body);
			for (const query of ["?a=b", `?${good}`, "?username=ada", "?access_token=x", "?__proto__=x"])
				refused(t, await post(house, good, formType, `/login${query}`), 400, "VALIDATION_FAILED", query);
			const inUrl = await house.app.inject({ method: "GET", url: `/login?${good}` });
			refused(t, inUrl, 405, "METHOD_NOT_ALLOWED", "GET");
			t.equal(inUrl.headers.allow, "POST");
			t.notMatch(house.rawLog(), /thistle/, "and nothing of it in the log");
		});

		await t.test("L08: no field gives more than a login", async (t) => {
			const good = new URLSearchParams({ username: "ada", password: goodPassword }).toString();
			for (const field of [
				"role=admin",
				"roles=admin",
				"id=1",
				"is_admin=true",
				"sub=x",
				"__proto__=x",
				"constructor=x",
			])
				refused(t, await post(house, `${good}&${field}`), 400, "VALIDATION_FAILED", field);
			for (const field of [
				'"roles":["admin"]',
				'"__proto__":{"roles":["admin"]}',
				'"constructor":{"prototype":{"x":1}}',
			]) {
				const json = `{"username":"ada","password":"${goodPassword}",${field}}`;
				const answer = await post(house, json, "application/json");
				t.equal(answer.statusCode, 400, field);
				t.notMatch(answer.body, /access_token/);
			}
			const me = await get("/me", await house.tokenFor("ada"));
			t.match(me.json(), { id, username: "ada", roles: ["user"], permissions: [] });
			t.notOk("x" in {} || "roles" in {}, "no prototype was touched");
		});

		await t.test("L13: a form has one meaning", async (t) => {
			await services.credentials.register("pat", "copper thistle+meridian %ff", ["user"]);
			const cases: [string, number, string][] = [
				["copper+thistle%2Bmeridian+%25ff", 200, "+ is a space, %2B a plus"],
				["copper%20thistle%2bmeridian%20%25ff", 200, "%20 is a space, too"],
				["copper+thistle+meridian+%25ff", 401, "+ is no plus"],
				["copper%2Bthistle%2Bmeridian+%25ff", 401, "%2B is no space"],
				["copper+thistle%2Bmeridian+%ff", 400, "%ff is not %25ff"],
				["copper+thistle%2Bmeridian+%zz", 400, "%zz"],
				["copper+thistle%2Bmeridian+%c0%af", 400, "overlong"],
				["copper+thistle%2Bmeridian+%", 400, "a lone %"],
			];
			for (const [password, statusCode, what] of cases) {
				const answer = await post(house, `username=pat&password=${password}`);
				t.equal(answer.statusCode, statusCode, what);
			}
		});

		await t.test("L24: no answer of /login, /protected or /me is kept by a cache", async (t) => {
			const token = await house.tokenFor("ada");
			const answers = [
				await login("ada"),
				await login("ada", "wrong"),
				await login("", ""),
				await get("/login"),
				await get("/me", token),
				await get("/me"),
				await get("/protected", token),
				await get("/protected", "x"),
				await post(house, "", "text/plain"),
			];
			t.strictSame(
				answers.map(({ statusCode }) => statusCode),
				[200, 401, 400, 405, 200, 401, 200, 401, 415],
			);
			for (const { headers } of answers) t.equal(headers["cache-control"], "no-store");
		});

		await t.test("L03: a disabled or deleted account neither logs in nor uses its live token", async (t) => {
			for (const end of ["disable", "delete"] as const) {
				const user = await services.users.find(await addUser(`${end}d`));
				if (!user) throw new Error("no user");
				const token = await house.tokenFor(`${end}d`);
				if (end === "disable") await services.users.setDisabled(user.id, true);
				else await services.users.delete(user);
				t.equal((await login(`${end}d`)).statusCode, 401, `${end}: login`);
				await services.changes.poll();
				for (const url of ["/protected", "/me"])
					t.match((await get(url, token)).json(), { statusCode: 401, code: "INVALID_TOKEN" }, `${end}: ${url}`);
			}
		});

		await t.test("L27: SQL text is inert in every field", async (t) => {
			const before = await rowCounts(house);
			const hash = await storedHash(house, "root");
			const token = await house.tokenFor("ada");
			for (const text of sqlTexts) {
				const began = performance.now();
				const answers = await Promise.all([
					login(text, "x"),
					login("root", text),
					house.app.inject({
						method: "POST",
						url: "/password",
						payload: new URLSearchParams({ current_password: text, new_password: text }).toString(),
						headers: { "content-type": formType, authorization: `Bearer ${token}` },
					}),
					get("/me", house.mint({ ...house.claims(text) })),
					get("/me", house.mint({ ...house.claims("nobody"), jti: text, sid: text })),
					get("/me", house.mint(house.claims(id), { kid: text })),
					house.app.inject({ url: "/me", headers: { cookie: `sid=${encodeURIComponent(text)}` } }),
					get(`/me?id=${encodeURIComponent(text)}`),
				]);
				for (const [index, { statusCode }] of answers.entries())
					t.ok(statusCode >= 400 && statusCode < 500, `${text} in place ${index}: ${statusCode}`);
				t.ok(performance.now() - began < 3000, `${text} delays nothing`);
			}
			t.strictSame(await rowCounts(house), before, "no row came or went");
			t.equal(await storedHash(house, "root"), hash, "no row changed");
		});

		await t.test("L29: stored is a salted bcrypt hash of cost 10 or more, and no plaintext anywhere", async (t) => {
			// Not addUser, which brings the same ready-made hash every time.
			await services.credentials.register("grace", goodPassword, ["user"]);
			await services.credentials.register("hedy", goodPassword, ["user"]);
			const rows = await services.store.db.selectFrom("users").selectAll().execute();
			const hashes = rows.filter(({ username }) => ["grace", "hedy", "root"].includes(username));
			t.equal(new Set(hashes.map((row) => row.password_hash)).size, 3, "one password, three hashes");
			for (const row of rows) t.match(row.password_hash, /^\$2b\$1[0-4]\$[./A-Za-z0-9]{53}$/);
			t.notMatch(JSON.stringify(rows), /thistle/);
			t.notMatch(house.rawLog(), /thistle/);
		});
	});

	t.test(
		`${kind}: L02, L20: an old hash costs a refusal no less, and is replaced at the next good login`,
		async (t) => {
			const location = await openStoreLocation(t, kind);
			const before = await testApp(t, { location, settings: { HASH_COST: "10" } });
			await before.addUser("ada");
			await before.services.users.setDisabled(await before.addUser("dora"), true);
			t.match(await storedHash(before, "ada"), /^\$2b\$10\$/);

			const house = await testApp(t, { location, settings: { HASH_COST: "11" } });
			const { login } = house;
			for (const [username, password] of [
				["ada", "wrong"],
				["nobody", "wrong"],
				["dora", goodPassword],
			] as const) {
				const spent = await work(house, async () => t.equal((await login(username, password)).statusCode, 401));
				t.equal(spent, 1, `${username}: one hash at cost 11`);
			}
			t.match(await storedHash(house, "ada"), /^\$2b\$10\$/, "a refused login replaces nothing");
			t.equal((await login("ada")).statusCode, 200);
			const upgraded = await storedHash(house, "ada");
			t.match(upgraded, /^\$2b\$11\$/);
			t.equal((await login("ada")).statusCode, 200, "the password is the same");
			t.equal(await storedHash(house, "ada"), upgraded, "and is replaced once");
			t.equal(await work(house, () => login("ada", "wrong")), 1, "a refusal still costs one hash");
			t.match(await storedHash(house, "dora"), /^\$2b\$10\$/, "a disabled account is left alone");
		},
	);
});

t.test("L18: a fresh start has one account, with a random password in a private file", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const house = await testApp(t, { location, empty: true });
	const { login, services } = house;
	const file = join(location.dataDir, "admin-password");
	const password = readFileSync(file, "utf8").trim();
	t.match(password, /^[\w-]{43}$/, "256 random bits");
	t.equal(statSync(file).mode & 0o777, 0o600);
	t.strictSame(
		(await services.users.list()).map(({ username }) => username),
		["admin"],
		"none of the usual names but this one",
	);
	for (const guess of ["admin", "password", "gatehouse", "changeme", "admin123", "123456789012345"])
		t.equal((await login("admin", guess)).statusCode, 401, guess);
	const answer = await login("admin", password);
	t.equal(answer.statusCode, 200);
	t.notOk(house.rawLog().includes(password), "the log does not show it");

	const other = await testApp(t, { empty: true });
	t.equal((await other.login("admin", password)).statusCode, 401, "another start has another password");

	const again = await testApp(t, { location, empty: true });
	t.equal(readFileSync(file, "utf8").trim(), password, "a restart makes no new one");
	const changed = await again.app.inject({
		method: "POST",
		url: "/password",
		payload: new URLSearchParams({ current_password: password, new_password: goodPassword }).toString(),
		headers: { "content-type": formType, authorization: `Bearer ${answer.json().access_token}` },
	});
	t.equal(changed.statusCode, 204);
	t.notOk(existsSync(file), "it goes when that password changes");
	t.equal((await login("admin", password)).statusCode, 401);
	t.equal((await login("admin")).statusCode, 200);
});

t.test("L18: with PostgreSQL nothing is made without being asked for", async (t) => {
	const { services, login } = await testApp(t, { store: "postgres", empty: true });
	t.strictSame(await services.users.list(), []);
	t.strictSame(services.bootstrapped, { outcome: "missing" });
	t.equal((await login("admin", "admin")).statusCode, 401);
});

const naughty = new URL("../../../shared/vectors/blns/blns.json", import.meta.url);
const skip = existsSync(naughty) ? false : "the shared vectors are not here";

onEachStore((kind) => {
	t.test(`${kind}: L26, L28: no naughty string breaks /login or comes back from it`, { skip }, async (t) => {
		const { login } = await testApp(t, { store: kind, logLevel: "fatal" });
		const strings = JSON.parse(readFileSync(naughty, "utf8")) as string[];
		t.equal(strings.length, 515);
		const faults: unknown[] = [];
		const attempt = async (username: string, password: string, secret?: string) => {
			const { statusCode, body } = await login(username, password);
			if (statusCode < 400 || statusCode >= 500) faults.push({ statusCode, username, password });
			if (secret !== undefined && secret.length > 8 && body.includes(secret)) faults.push({ body, secret });
		};
		// A password costs a hash whatever the store: once is enough.
		const attempts = strings.flatMap((text) => [
			() => attempt(text, "x", text),
			...(kind === "sqlite" ? [() => attempt("root", text, text)] : []),
		]);
		const next = attempts.values();
		await Promise.all(
			Array.from({ length: 8 }, async () => {
				for (const one of next) await one();
			}),
		);
		t.strictSame(faults, []);
		t.equal((await login("root")).statusCode, 200, "and the service is well");
	});
});

onEachStore((kind) => {
	t.test(`${kind}: the username is found in every spelling of it`, async (t) => {
		const { addUser, login } = await testApp(t, { store: kind });
		await addUser("Zoë.Ångström");
		for (const name of ["zoë.ångström", "ZOË.ÅNGSTRÖM", "zoe\u0308.a\u030angstro\u0308m", "ｚｏë.ångström"])
			t.equal((await login(name)).statusCode, 200, name);
		t.equal((await login("zoe.angstrom")).statusCode, 401, "other letters are another name");
		const { payload } = form({ username: " zoë.ångström", password: goodPassword });
		t.match(payload, /^username=\+/);
		t.equal((await login(" zoë.ångström")).statusCode, 400, "nothing is trimmed");
	});
});
