/** Who can log in to a store that was empty: row L18. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { verify } from "@node-rs/bcrypt";
import t from "tap";
import { goodPassword, testApp } from "../support/app.ts";
import { formType } from "../support/login.ts";
import { openStoreLocation } from "../support/stores.ts";

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

const common = new URL("../../../shared/vectors/passwords/10k-most-common.txt", import.meta.url);
const skip = existsSync(common) ? false : "the shared vectors are not here";

t.test("L18: no usual name opens a fresh store with any of the 100 most common passwords", { skip }, async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const { services } = await testApp(t, { location, empty: true });
	const names = ["admin", "administrator", "root", "user", "test", "guest", "gatehouse", "postgres", "sa", "operator"];
	const found = await Promise.all(names.map((username) => services.users.findCredentials({ username })));
	const accounts = found.filter((account) => account !== undefined);
	t.same(
		accounts.map(({ username }) => username),
		["admin"],
		"the other names have no account, so no password",
	);
	t.equal((await services.users.list()).length, 1);
	const { hash, scheme } = accounts[0]?.password ?? { hash: "" };
	t.equal(scheme, "bcrypt", "so that the hash is one of the password itself");
	const password = readFileSync(join(location.dataDir, "admin-password"), "utf8").trim();
	t.equal(await verify(password, hash), true, "so that a match would be seen");
	const guesses = readFileSync(common, "utf8").split("\n").slice(0, 100);
	t.equal(new Set(guesses.filter(Boolean)).size, 100);
	const matches = await Promise.all(guesses.map(async (guess) => (await verify(guess, hash)) && guess));
	t.same(matches.filter(Boolean), []);
});
