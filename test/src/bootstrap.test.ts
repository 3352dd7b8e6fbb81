/** The first administrator of an empty store. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bootstrap, forgetInitialPassword, initialPasswordFile } from "../../src/bootstrap.ts";
import { loadConfig } from "../../src/config/config.ts";
import { openAccounts } from "../../src/services.ts";
import type { StoreKind } from "../../src/store/migrations.ts";
import { aDevice, createFakeClock, goodPassword } from "../support/app.ts";
import { rootAccount, type Settings, testSecret } from "../support/process.ts";
import { openStoreLocation, type StoreLocation } from "../support/stores.ts";

async function empty(t: Test, kind: StoreKind, settings: Settings = {}, at?: StoreLocation) {
	const { databaseUrl, dataDir } = at ?? (await openStoreLocation(t, kind));
	const base = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, HASH_COST: "10", HASH_THREADS: "1", SECRET: testSecret };
	const { config } = loadConfig({ ...base, ...settings });
	const accounts = await openAccounts(config, createFakeClock());
	t.teardown(() => accounts.close());
	await accounts.store.migrate();
	return { config, accounts, run: () => bootstrap(config, accounts), location: { databaseUrl, dataDir } };
}

t.test("with SQLite outside production: admin, with a random password in a file of mode 0600", async (t) => {
	const { config, accounts, run } = await empty(t, "sqlite");
	const made = await run();
	const passwordFile = initialPasswordFile(config);
	t.match(made, { outcome: "made", username: "admin", passwordFile });
	const password = readFileSync(passwordFile, "utf8").trim();
	t.match(made, { password });
	t.equal(statSync(passwordFile).mode & 0o777, 0o600);
	t.match(await accounts.credentials.login("admin", password, aDevice), {
		user: { username: "admin", roles: ["admin"] },
	});
	t.same(await run(), { outcome: "present" }, "once only");
});

t.test("a password that a crash left behind without an account is the one that counts", async (t) => {
	const { config, accounts, run } = await empty(t, "sqlite");
	writeFileSync(initialPasswordFile(config), `${goodPassword}\n`, { mode: 0o600 });
	t.match(await run(), { outcome: "made", password: goodPassword });
	t.ok(await accounts.credentials.login("admin", goodPassword, aDevice));
});

t.test("no account is made for anybody in production, with PostgreSQL, or where there is one already", async (t) => {
	const production = await empty(t, "sqlite", { NODE_ENV: "production", ISSUER: "https://login.example.com" });
	t.same(await production.run(), { outcome: "missing" });
	t.ok(await production.accounts.users.isEmpty());
	t.notOk(existsSync(initialPasswordFile(production.config)));

	const postgres = await empty(t, "postgres");
	t.same(await postgres.run(), { outcome: "missing" });
	t.ok(await postgres.accounts.users.isEmpty());

	const used = await empty(t, "sqlite", rootAccount);
	await used.accounts.credentials.register("ada", goodPassword, ["user"]);
	t.same(await used.run(), { outcome: "present" });
	t.equal((await used.accounts.users.list()).length, 1, "BOOTSTRAP_* adds nothing to a store that is in use");
});

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`${kind}: several that start together make one account`, async (t) => {
		const first = await empty(t, kind, rootAccount);
		const second = await empty(t, kind, rootAccount, first.location);
		const outcomes = await Promise.all([first.run(), second.run()]);
		t.same(outcomes.map(({ outcome }) => outcome).sort(), ["made", "present"]);
		t.notOk(
			"password" in (outcomes.find(({ outcome }) => outcome === "made") ?? {}),
			"a configured one is not repeated",
		);
		t.match(await first.accounts.users.list(), [{ username: "root", roles: ["admin"] }]);
	});

t.test("K01: a first account against the rules is refused by the setting's name, without its value", async (t) => {
	const cases: [Settings, string][] = [
		[{ BOOTSTRAP_PASSWORD: "tooshort" }, "BOOTSTRAP_PASSWORD"],
		[{ BOOTSTRAP_PASSWORD: "passwordpassword" }, "BOOTSTRAP_PASSWORD"],
		[{ BOOTSTRAP_PASSWORD: "root has the key to it" }, "BOOTSTRAP_PASSWORD"],
		[{ BOOTSTRAP_PASSWORD: "x".repeat(1025) }, "BOOTSTRAP_PASSWORD"],
		[{ BOOTSTRAP_USERNAME: "two words" }, "BOOTSTRAP_USERNAME"],
		[{ BOOTSTRAP_USERNAME: "a".repeat(65) }, "BOOTSTRAP_USERNAME"],
	];
	for (const [settings, name] of cases) {
		const { accounts, run } = await empty(t, "sqlite", { ...rootAccount, ...settings });
		const error = await run().then(
			() => undefined,
			(reason: Error) => reason,
		);
		t.match(error, { code: "WRONG_SETTINGS", problems: [new RegExp(`^${name} is refused: `)] });
		t.notOk(error?.message.includes(Object.values(settings)[0] as string), "no value is shown");
		t.ok(await accounts.users.isEmpty());
	}
});

t.test("the file goes with the password of admin, and of nobody else", async (t) => {
	const { config, location } = await empty(t, "sqlite");
	const file = initialPasswordFile(config);
	writeFileSync(file, goodPassword);
	forgetInitialPassword(config, "ada");
	t.ok(existsSync(file));
	const postgres = { DATABASE_URL: "postgres://127.0.0.1:1/x", SECRET: testSecret, DATA_DIR: location.dataDir };
	forgetInitialPassword(loadConfig(postgres).config, "admin");
	t.ok(existsSync(file), "with PostgreSQL the folder belongs to another store");
	forgetInitialPassword(config, "admin");
	t.notOk(existsSync(file));
	forgetInitialPassword(config, "admin");
	t.notOk(existsSync(join(file)), "a second time is no error");
});
