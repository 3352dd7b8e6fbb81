/** `POST /login` through the front door, on both stores: rows L01 to L03, L20, L24 and L29. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { errors } from "../../src/errors.ts";
import { form, goodPassword, testApp } from "../support/app.ts";
import { post, storedHash, visible, work } from "../support/login.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

onEachStore((kind) => {
	t.test(`${kind}: POST /login`, async (t) => {
		const house = await testApp(t, { store: kind, settings: { HASH_COST: "10" } });
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

t.test("L20: a good login whose old hash cannot be replaced is good all the same, and does it next time", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	await (await testApp(t, { location, settings: { HASH_COST: "10" } })).addUser("ada");
	const house = await testApp(t, { location, settings: { HASH_COST: "11" } });
	const other = new DatabaseSync(join(location.dataDir, "gatehouse.db"));
	t.teardown(() => other.close());
	other.exec("begin immediate");
	t.equal((await house.login("ada")).statusCode, 503, "a lock that stays refuses the session as well");
	t.match(await storedHash(house, "ada"), /^\$2b\$10\$/);
	other.exec("rollback");
	const { users } = house.services;
	const { upgradeHash } = users;
	users.upgradeHash = () => Promise.reject(new errors.STORE_UNAVAILABLE());
	const answer = await house.login("ada");
	t.equal(answer.statusCode, 200, "where only the hash could not be written");
	t.equal((await house.get("/protected", answer.json().access_token)).statusCode, 200);
	t.match(await storedHash(house, "ada"), /^\$2b\$10\$/);
	users.upgradeHash = upgradeHash;
	t.equal((await house.login("ada")).statusCode, 200);
	t.match(await storedHash(house, "ada"), /^\$2b\$11\$/);
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

t.test("where only cookies count, a login gives cookies unless it is told otherwise", async (t) => {
	const { app, login, get } = await testApp(t, { settings: { TOKEN_LOCATIONS: "cookie" } });
	const answer = await login("root");
	t.equal(answer.statusCode, 200);
	t.equal(answer.json().access_token, undefined, "no route would take it out of a body");
	const cookie = (answer.cookies as { name: string; value: string }[]).map(({ name, value }) => `${name}=${value}`);
	t.equal((await app.inject({ url: "/protected", headers: { cookie: cookie.join("; ") } })).statusCode, 200);
	t.equal((await get("/protected", "x")).json().code, "AUTHENTICATION_REQUIRED", "a header is not looked at");
	const { payload, headers } = form({ username: "root", password: "not the password" });
	const byBrowser = { method: "POST" as const, url: "/login", payload, headers: { ...headers, accept: "text/html" } };
	const refused = await app.inject(byBrowser);
	t.match(
		refused,
		{ statusCode: 401, headers: { "content-type": /^text\/html/ } },
		"a form without `delivery` gets a page",
	);
});
