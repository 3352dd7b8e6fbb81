/** `POST /password` through the front door, on both stores: rows L08, L10 to L12, L14 to L17, L20, L25 and L28. */
import t from "tap";
import { createFakeClock, form, goodPassword, type TestApp, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";
import { onEachStore } from "../support/stores.ts";

const nextPassword = "walnut harbour sixteen lanterns";
const times = rounds(100);

/** Posts the form with a token. */
function change({ app }: TestApp, token: string, fields: Record<string, string>) {
	const { payload, headers } = form(fields);
	return app.inject({
		method: "POST",
		url: "/password",
		payload,
		headers: { ...headers, authorization: `Bearer ${token}` },
	});
}

const fields = (current: string, next: string) => ({ current_password: current, new_password: next });

onEachStore((kind) => {
	t.test(`${kind}: POST /password`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { addUser, login, get, tokenFor, services } = house;

		await t.test("changes the password, and the old one is worth nothing from then on", async (t) => {
			await addUser("ada");
			const token = await tokenFor("ada");
			const answer = await change(house, token, fields(goodPassword, nextPassword));
			t.equal(answer.statusCode, 204);
			t.equal(answer.body, "");
			t.equal((await login("ada", goodPassword)).statusCode, 401);
			t.equal((await login("ada", nextPassword)).statusCode, 200);
			const line = house.logged.find(({ msg }) => msg === "password changed");
			t.match(line, { address: "127.0.0.1", reqId: answer.headers["x-request-id"] });
		});

		await t.test("L14: needs a token and the current password", async (t) => {
			await addUser("bob");
			const token = await tokenFor("bob");
			const before = await services.users.findCredentials({ username: "bob" });
			const wrong = await change(house, token, fields("wrong", nextPassword));
			t.match(wrong.json(), { statusCode: 403, code: "INVALID_CURRENT_PASSWORD" });
			t.equal(wrong.headers["www-authenticate"], undefined, "the token stays good");
			t.equal((await get("/me", token)).statusCode, 200);
			for (const missing of [{ new_password: nextPassword }, { current_password: goodPassword }, {}])
				t.match((await change(house, token, missing)).json(), { statusCode: 400, code: "VALIDATION_FAILED" });
			t.match((await change(house, token, fields("", nextPassword))).json(), { code: "INVALID_PASSWORD" });
			const { payload, headers } = form(fields(goodPassword, nextPassword));
			const anonymous = await house.app.inject({ method: "POST", url: "/password", payload, headers });
			t.match(anonymous.json(), { statusCode: 401, code: "AUTHENTICATION_REQUIRED" });
			t.strictSame(await services.users.findCredentials({ username: "bob" }), before, "nothing changed");
		});

		await t.test("L08: no field names another account or another role", async (t) => {
			await addUser("carl");
			const token = await tokenFor("carl");
			for (const extra of ["role", "id", "username", "is_admin", "__proto__", "constructor"]) {
				const body = `${form(fields(goodPassword, nextPassword)).payload}&${extra}=root`;
				const answer = await house.app.inject({
					method: "POST",
					url: "/password",
					payload: body,
					headers: { "content-type": "application/x-www-form-urlencoded", authorization: `Bearer ${token}` },
				});
				t.match(answer.json(), { statusCode: 400, code: "VALIDATION_FAILED" }, extra);
			}
			t.equal((await login("root")).statusCode, 200, "root's password is the same");
			t.match((await get("/me", await tokenFor("carl"))).json(), { roles: ["user"], permissions: [] });
		});

		await t.test("L15, L16, L25, L28: a weak password is refused with a reason that does not repeat it", async (t) => {
			await addUser("margaret");
			const token = await tokenFor("margaret");
			const refused: [string, RegExp][] = [
				["kvzjqwmxhbtpyd", /at least 15 characters/],
				["\u{1f600}".repeat(14), /at least 15 characters/],
				["e\u0301".repeat(14), /at least 15 characters/],
				["passwordpassword", /common words|repeats/],
				["PasswordPassword", /common words|repeats/],
				["aaaaaaaaaaaaaaaaaaaa", /repeats/],
				["qwertyuiopasdfghjkl", /keyboard|common/],
				["tern margaret violin seven", /username/],
				["tern MARGARET violin seven", /username/],
				["tern gatehouse violin seven", /name of the service/],
			];
			for (const [password, reason] of refused) {
				const answer = await change(house, token, fields(goodPassword, password));
				t.match(answer.json(), { statusCode: 400, code: "WEAK_PASSWORD", message: reason }, password);
				t.notOk(answer.body.includes(password), `${password} is not repeated`);
			}
			t.equal((await login("margaret")).statusCode, 200, "the password is the same");
		});

		await t.test("L10, L11, L12, L15, L17: every character of a new password counts", async (t) => {
			await addUser("edsger");
			const token = await tokenFor("edsger");
			const long = `${"copper thistle meridian ".repeat(3)}2718 abc`;
			const emoji = "\u{1f600}".repeat(64);
			const cases: { set: string; what: string; same?: string[]; other: string[] }[] = [
				{
					what: "L10: 80 characters",
					set: long,
					other: [long.slice(0, 72), `${long.slice(0, 72)}other tx`, `${long}.`],
				},
				{ what: "L11: 64 emoji, 256 bytes", set: emoji, other: [`${emoji.slice(0, -2)}\u{1f601}`] },
				{ what: "L15: 15 emoji", set: "\u{1f600}".repeat(15), other: ["\u{1f600}".repeat(16)] },
				{
					what: "L12: spaces, case and Unicode form",
					set: "  Caf\u00e9 thistle meridian ",
					same: ["  Cafe\u0301 thistle meridian ", " \u00a0Caf\u00e9\u2003thistle meridian "],
					other: ["Caf\u00e9 thistle meridian", "  caf\u00e9 thistle meridian ", "  Cafe thistle meridian "],
				},
				{ what: "L17: lower-case letters only", set: "kvzjqwmxhbtpydgncrfs", other: ["KVZJQWMXHBTPYDGNCRFS"] },
			];
			let current = goodPassword;
			for (const { what, set, same = [], other } of cases) {
				t.equal((await change(house, token, fields(current, set))).statusCode, 204, `${what}: is taken`);
				for (const password of [set, ...same])
					t.equal((await login("edsger", password)).statusCode, 200, `${what}: ${JSON.stringify(password)}`);
				for (const password of other)
					t.equal((await login("edsger", password)).statusCode, 401, `${what}: not ${JSON.stringify(password)}`);
				current = set;
			}
		});

		await t.test(`L20: a change at the moment of a login wins, ${times} times`, async (t) => {
			const id = await addUser("race");
			const token = await tokenFor("race");
			const first = await services.users.findCredentials({ id });
			if (!first) throw new Error("no account");
			// The same hash under another prefix: outdated, so that every login wants to replace it.
			const outdated = first.password.hash.replace("$2b$", "$2a$");
			for (let round = 0; round < times; round++) {
				await services.store.db.updateTable("users").set({ password_hash: outdated }).where("id", "=", id).execute();
				const logins = () => login("race", goodPassword);
				const changes = () => change(house, token, fields(goodPassword, nextPassword));
				const [a, b] = round % 2 ? await Promise.all([changes(), logins()]) : await Promise.all([logins(), changes()]);
				const [changed, loggedIn] = round % 2 ? [a, b] : [b, a];
				t.equal(changed.statusCode, 204);
				t.ok([200, 401].includes(loggedIn.statusCode), `the login was first or second: ${loggedIn.statusCode}`);
				const stored = (await services.users.findCredentials({ id }))?.password;
				t.equal(await services.passwords.verify(nextPassword, stored), true, "the new password holds");
				t.equal(await services.passwords.verify(goodPassword, stored), false, "the old one does not");
			}
		});

		await t.test(
			"of two changes at once one holds, and the other is told that its current password is wrong",
			async (t) => {
				const id = await addUser("twice");
				const token = await tokenFor("twice");
				const candidates = [nextPassword, "seven violins under the ash tree"];
				const answers = await Promise.all(candidates.map((next) => change(house, token, fields(goodPassword, next))));
				t.strictSame(answers.map(({ statusCode }) => statusCode).sort(), [204, 403]);
				const winner = candidates[answers.findIndex(({ statusCode }) => statusCode === 204)] ?? "";
				const stored = (await services.users.findCredentials({ id }))?.password;
				t.equal(await services.passwords.verify(winner, stored), true);
			},
		);

		await t.test(
			"L19: a stored hash of a foreign kind opens the account or does not, and is never a fault",
			async (t) => {
				const id = await addUser("import");
				const own = (await services.users.findCredentials({ id }))?.password.hash ?? "";
				const kinds: [string, number][] = [
					[own.replace("$2b$", "$2a$"), 200],
					[own.replace("$2b$", "$2y$"), 200],
					[own.replace("$2b$", "$2x$"), 401],
					[own.replace(/^\$2b\$\d\d/, "$$2b$$31"), 401],
					[own.slice(0, -1), 401],
					["$1$salt$XUo65k3UjZ2N", 401],
					["", 401],
				];
				for (const [hash, statusCode] of kinds) {
					await services.store.db.updateTable("users").set({ password_hash: hash }).where("id", "=", id).execute();
					t.equal((await login("import")).statusCode, statusCode, hash.slice(0, 7));
				}
			},
		);
	});
});

t.test("L15: the minimum length is a setting, and counts code points after normalisation", async (t) => {
	const house = await testApp(t, { settings: { PASSWORD_MIN_LENGTH: "8" } });
	await house.addUser("ada");
	const token = await house.tokenFor("ada");
	const short = await change(house, token, fields(goodPassword, "kvzjqwm"));
	t.match(short.json(), { code: "WEAK_PASSWORD", message: /at least 8 characters/ });
	// A letter and its combining accent are one code point after NFC, so this is seven.
	const combining = await change(house, token, fields(goodPassword, "e\u0301kvzjqw"));
	t.match(combining.json(), { code: "WEAK_PASSWORD", message: /at least 8 characters/ });
	t.equal((await change(house, token, fields(goodPassword, "k\u0301vzjqwmx"))).statusCode, 204);
});

t.test("L17: a password does not end by age", async (t) => {
	const clock = createFakeClock();
	const { addUser, login, get, tokenFor } = await testApp(t, { clock });
	await addUser("ada");
	clock.advance(400 * 86_400);
	t.equal((await login("ada")).statusCode, 200);
	t.equal((await get("/protected", await tokenFor("ada"))).statusCode, 200);
});
