/** Starts of the real process: what the first one makes, what the second finds, and how a start is refused. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { freePort } from "../support/free-port.ts";
import { launchServer, type Running, rootAccount, run, startServer, testSecret } from "../support/process.ts";
import { openStoreLocation, temporaryFolder } from "../support/stores.ts";

const newPassword = "velvet anchor parabola 3141";
const permissions = (file: string) => (statSync(file).mode & 0o777).toString(8);
const secretOf = (folder: string) => readFileSync(join(folder, "secret"), "utf8");

/** What a person reads of a process that must not start. */
async function refusal(t: Test, running: Running): Promise<{ code: number | null; text: string }> {
	const { code, stdout, stderr } = await running.ended;
	t.notMatch(stdout, /Gatehouse is ready/, "it does not serve");
	t.not(stderr, "", "it says why");
	t.notMatch(stderr, /^\s+at /m, "in words, without a stack");
	return { code, text: stderr };
}

t.test("a start with LOGIN_LIMITS=off says so, also where little is logged", async (t) => {
	for (const LOG_LEVEL of ["error", "silent"]) {
		const settings = { DATA_DIR: temporaryFolder(t), LOGIN_LIMITS: "off", LOG_LEVEL };
		const running = launchServer(t, settings);
		await running.until(/LOGIN_LIMITS=off/);
		running.signal("SIGINT");
		const { code } = await running.ended;
		t.equal(code, 0);
		const [line, ...others] = running.logged();
		t.match(line, { level: 40, msg: /^LOGIN_LIMITS=off: anybody may guess passwords without end/ });
		t.same(others, [], "and nothing else");
	}
});

t.test(
	"J08: the first start makes an administrator, its files are private, and the log never shows the password",
	async (t) => {
		const folder = join(temporaryFolder(t), "data");
		const passwordFile = join(folder, "admin-password");
		const first = await startServer(t, { DATA_DIR: folder });
		t.equal(permissions(folder), "700");
		for (const file of ["secret", "admin-password", "gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm"])
			t.equal(permissions(join(folder, file)), "600", file);
		await first.until(/the first administrator was made/);
		const password = readFileSync(passwordFile, "utf8").trim();
		t.ok(password.length >= 40, "the password is long and random");
		const withoutStore = /^tokens are accepted for 300 s, login, refresh and every change answer 503/;
		const said = first.logged().filter(({ event }) => event === undefined);
		t.match(said, [
			{ msg: "Gatehouse is ready", withoutStore },
			{ username: "admin", passwordFile },
		]);
		t.equal((await first.login("admin", `${password}x`)).status, 401);
		const token = await first.tokenFor("admin", password);
		t.match(await (await first.get("/me", token)).json(), { username: "admin", roles: ["admin"] });
		const keySet = await (await first.get("/.well-known/jwks.json")).text();
		const secret = secretOf(folder);
		const database = ["gatehouse.db", "gatehouse.db-wal"]
			.map((file) => readFileSync(join(folder, file), "latin1"))
			.join();
		t.notMatch(database, /PRIVATE KEY|"d":/, "no private key lies in the store in the clear");
		t.notOk(database.includes(password), "nor the password");
		first.signal("SIGINT");
		const { stdout, stderr } = await first.ended;
		t.equal(stderr, "");
		t.notOk(stdout.includes(password), "the log does not hold the password");
		t.notOk(stdout.includes(secret.trim()), "nor the secret");

		const second = await startServer(t, { DATA_DIR: folder });
		t.equal(secretOf(folder), secret, "the second start keeps the secret");
		t.equal(await (await second.get("/.well-known/jwks.json")).text(), keySet, "and the key");
		t.equal(readFileSync(passwordFile, "utf8").trim(), password, "and the password");
		t.equal((await second.get("/me", token)).status, 200, "and tokens stay good");
		t.notMatch(second.stdout(), /administrator was made/, "and says nothing of an account");

		const change = (current: string) =>
			fetch(`${second.url}/password`, {
				method: "POST",
				headers: { authorization: `Bearer ${token}` },
				body: new URLSearchParams({ current_password: current, new_password: newPassword }),
			});
		t.equal((await change("something else entirely")).status, 403);
		t.ok(existsSync(passwordFile), "the file stays while its password is good");
		t.equal((await change(password)).status, 204);
		t.notOk(existsSync(passwordFile), "the file goes when its password has changed");
		t.equal((await second.login("admin", password)).status, 401);
		t.equal((await second.login("admin", newPassword)).status, 200);
	},
);

t.test("the password file also goes when the command line changes the password, and only that one", async (t) => {
	const folder = temporaryFolder(t);
	const server = await startServer(t, { DATA_DIR: folder });
	const user = (...words: string[]) =>
		run(t, ["user", ...words, "--password-stdin"], { DATA_DIR: folder }, newPassword);
	t.equal((await user("add", "ada")).code, 0);
	t.equal((await user("password", "ada")).code, 0);
	t.ok(existsSync(join(folder, "admin-password")), "another account's password changes nothing");
	t.equal((await user("password", "admin")).code, 0);
	t.notOk(existsSync(join(folder, "admin-password")));
	t.equal((await server.login("admin", newPassword)).status, 200);
});

t.test(
	"BOOTSTRAP_USERNAME and BOOTSTRAP_PASSWORD make the first administrator, also from files, in production too",
	async (t) => {
		const folder = temporaryFolder(t);
		writeFileSync(join(folder, "name"), "Root\n");
		writeFileSync(join(folder, "password"), `${goodPassword}\n`);
		const server = await startServer(t, {
			DATA_DIR: folder,
			NODE_ENV: "production",
			ISSUER: "https://login.example.com",
			DOCS: undefined,
			BOOTSTRAP_USERNAME_FILE: join(folder, "name"),
			BOOTSTRAP_PASSWORD_FILE: join(folder, "password"),
		});
		const me = await server.get("/me", await server.tokenFor("root"));
		t.match(await me.json(), { username: "root", roles: ["admin"] });
		t.notOk(existsSync(join(folder, "admin-password")), "no password lies in a file");
		t.notOk(server.stdout().includes(goodPassword));
		t.equal((await server.get("/docs")).status, 404, "production shows no documentation page");
	},
);

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`${kind}: production starts without an account, and the log says which command makes one`, async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
		const production = kind === "sqlite" ? { NODE_ENV: "production", ISSUER: "https://login.example.com" } : {};
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, SECRET: testSecret, ...production };
		const server = await startServer(t, settings);
		await server.until(/there is no account yet; make one with: .*user add NAME --role admin/);
		t.equal((await run(t, ["user", "list", "--json"], settings)).stdout, "[]\n");
		t.notOk(existsSync(join(dataDir, "admin-password")));
		t.equal((await server.login("admin", "admin")).status, 401);
		t.equal((await server.get("/readyz")).status, 200, "it serves all the same");
	});

for (const [kind, count] of [
	["postgres", 3],
	["sqlite", 2],
] as const)
	t.test(
		`${kind}: ${count} processes that start together on an empty store make one account and one key`,
		async (t) => {
			const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
			const settings =
				kind === "postgres" ? { DATABASE_URL: databaseUrl, SECRET: testSecret, ...rootAccount } : { DATA_DIR: dataDir };
			const servers = await Promise.all(Array.from({ length: count }, () => startServer(t, settings)));
			const accounts = JSON.parse((await run(t, ["user", "list", "--json"], settings)).stdout);
			t.match(accounts, [{ username: kind === "postgres" ? "root" : "admin", roles: ["admin"] }]);
			t.equal(accounts.length, 1);
			const keySets = await Promise.all(servers.map(async ({ get }) => (await get("/.well-known/jwks.json")).text()));
			t.equal(new Set(keySets).size, 1, "all show the same key set");
			t.equal(JSON.parse(keySets[0] as string).keys.length, 1);
			const made = servers.map(({ stdout }) => stdout().match(/the first administrator was made/g)?.length ?? 0);
			const password =
				kind === "postgres" ? goodPassword : readFileSync(join(dataDir, "admin-password"), "utf8").trim();
			for (const server of servers) {
				const token = await server.tokenFor(accounts[0].username, password);
				for (const other of servers) t.equal((await other.get("/protected", token)).status, 200);
			}
			t.equal(
				made.reduce((sum, one) => sum + one),
				1,
				"one of them says that it made the account",
			);
		},
	);

t.test(
	"K01: no start with a missing, short or example secret; the reason names the setting, never the value",
	async (t) => {
		const postgres = { DATABASE_URL: "postgres://gatehouse:hidden-word@127.0.0.1:1/gatehouse" };
		const cases: [string, Record<string, string>, RegExp][] = [
			["missing", postgres, /SECRET is required with PostgreSQL/],
			["short", { SECRET: "Zk3v9QpL0xWm" }, /SECRET is shorter than 32 bytes/],
			["example", { SECRET: "please-change-me-to-something-long-and-random" }, /SECRET looks like an example/],
		];
		for (const [name, settings, reason] of cases) {
			const folder = join(temporaryFolder(t), "data");
			const { code, text } = await refusal(t, launchServer(t, { DATA_DIR: folder, ...settings }));
			t.equal(code, 2, name);
			t.match(text, reason);
			for (const value of [...Object.values(settings), "hidden-word"])
				t.notOk(text.includes(value), "no value is shown");
			t.notOk(existsSync(folder), "nothing was made");
		}
	},
);

t.test("a weak or impossible first account stops the start, and the report names the setting", async (t) => {
	const cases: [Record<string, string>, RegExp][] = [
		[{ BOOTSTRAP_PASSWORD: "tooshort" }, /BOOTSTRAP_PASSWORD is refused: .*15 characters/],
		[{ BOOTSTRAP_USERNAME: "two words" }, /BOOTSTRAP_USERNAME is refused: /],
	];
	for (const [settings, reason] of cases) {
		const folder = temporaryFolder(t);
		const { code, text } = await refusal(t, launchServer(t, { DATA_DIR: folder, ...rootAccount, ...settings }));
		t.equal(code, 2);
		t.match(text, reason);
		for (const value of Object.values(settings)) t.notOk(text.includes(value), "no value is shown");
		t.equal((await run(t, ["user", "list", "--json"], { DATA_DIR: folder })).stdout, "[]\n", "no account was made");
	}
});

t.test("another SECRET than the store's stops the start, and the store stays as it is", async (t) => {
	const folder = temporaryFolder(t);
	const settings = { DATA_DIR: folder, ...rootAccount };
	const first = await startServer(t, settings);
	const token = await first.tokenFor("root");
	first.signal("SIGINT");
	await first.ended;
	const { code, text } = await refusal(t, launchServer(t, { ...settings, SECRET: testSecret }));
	t.equal(code, 2);
	t.match(text, /SECRET does not open the signing keys in the store/);
	t.notOk(text.includes(testSecret));
	const again = await startServer(t, settings);
	t.equal((await again.get("/protected", token)).status, 200, "the right secret opens it as before");
	again.signal("SIGINT");
	await again.ended;
	writeFileSync(join(folder, "secret"), "");
	const emptied = await refusal(t, launchServer(t, settings));
	t.equal(emptied.code, 2);
	t.match(emptied.text, /secret does not hold a secret; restore it/);
	t.equal(secretOf(folder), "", "an emptied secret is never replaced by a new one");
});

t.test("a PostgreSQL that refuses, or accepts and is silent, stops the start within seconds", async (t) => {
	const silent = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
	await new Promise((resolve) => silent.once("listening", resolve));
	t.teardown(() => silent.close());
	const { port } = silent.address() as { port: number };
	for (const address of ["127.0.0.1:1", `127.0.0.1:${port}`]) {
		const began = performance.now();
		const settings = { DATABASE_URL: `postgres://gatehouse:hidden-word@${address}/gatehouse`, SECRET: testSecret };
		const { code, text } = await refusal(t, launchServer(t, settings));
		t.equal(code, 1);
		t.match(text, /Cannot open the store that DATABASE_URL names: .*Check that the server runs/);
		t.notOk(text.includes("hidden-word"), "the address has a password and is not shown");
		t.ok(performance.now() - began < 8000, "within seconds");
	}
});

t.test("while it starts it answers its probes: alive, not started, not ready; and nothing else", async (t) => {
	const silent = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
	await new Promise((resolve) => silent.once("listening", resolve));
	t.teardown(() => silent.close());
	const { port: databasePort } = silent.address() as { port: number };
	const port = String(await freePort());
	const DATABASE_URL = `postgres://gatehouse:hidden-word@127.0.0.1:${databasePort}/gatehouse`;
	launchServer(t, { DATABASE_URL, SECRET: testSecret, PORT: port });
	// It waits for its database, as it would for a long migration.
	await new Promise((resolve) => silent.once("connection", resolve));
	const ask = async (path: string, method = "GET") => {
		const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
			method,
			headers: { "x-request-id": "somebody-else" },
		});
		t.match(answer.headers.get("x-request-id"), /^(?!somebody)./, path);
		t.equal(answer.headers.get("cache-control"), "no-store", path);
		t.equal(answer.headers.get("retry-after"), answer.ok ? null : "2", path);
		return { status: answer.status, body: await answer.json() };
	};
	const [live, ready, ...others] = await Promise.all([
		ask("/livez"),
		ask("/readyz"),
		ask("/startupz"),
		ask("/protected"),
		ask("/login", "POST"),
	]);
	t.same(live, { status: 200, body: { status: "ok" } });
	t.same(ready, { status: 503, body: { status: "starting", store: "down" } });
	for (const other of others) t.match(other, { status: 503, body: { statusCode: 503, code: "STARTING" } });
});

t.test("a taken port and an impossible data folder stop the start in words", async (t) => {
	const folder = temporaryFolder(t);
	const other = createServer().listen(0, "127.0.0.1");
	await new Promise((resolve) => other.once("listening", resolve));
	t.teardown(() => other.close());
	const { port } = other.address() as { port: number };
	const taken = await refusal(t, launchServer(t, { DATA_DIR: folder, PORT: String(port) }));
	t.equal(taken.code, 1);
	t.match(taken.text, new RegExp(`address already in use 127\\.0\\.0\\.1:${port}`));

	const file = join(folder, "file");
	writeFileSync(file, "");
	const impossible = await refusal(t, launchServer(t, { DATA_DIR: join(file, "data") }));
	t.equal(impossible.code, 1);
	t.match(impossible.text, /Cannot open the store that DATA_DIR names: .*Make that folder writable/);
});
