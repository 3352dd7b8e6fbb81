/** The commands as real processes, beside a server that runs: what they change holds there, and scripts can rely on them. */
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { type RunningServer, rootAccount, run, startServer, testSecret } from "../support/process.ts";
import { openStoreLocation, temporaryFolder } from "../support/stores.ts";
import { until, untilStatus } from "../support/until.ts";

/** Runs a command line and answers what a shell would see. */
const shell =
	(t: Test, settings: Record<string, string | undefined>) =>
	async (line: string, input = "") => {
		const { code, stdout, stderr } = await run(t, line.split(" "), settings, input);
		return { code, stdout, stderr };
	};

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`${kind}: what a command changes holds in a running server within a second`, async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, SECRET: testSecret, ...rootAccount };
		const server: RunningServer = await startServer(t, settings);
		const cli = shell(t, settings);
		const added = await cli("user add Ada --role user --role admin --password-stdin --json", `${goodPassword}\n`);
		t.equal(added.code, 0);
		t.match(JSON.parse(added.stdout), { username: "ada", roles: ["user", "admin"], id: /^[\w-]{22}$/ });
		const { id } = JSON.parse(added.stdout);
		const token = await server.tokenFor("ada");
		const useToken = () => server.get("/protected", token);
		t.equal((await useToken()).status, 200);

		t.match(await cli("user disable ada"), { code: 0, stdout: "ada is disabled\n", stderr: "" });
		t.ok((await untilStatus(401, useToken)) < 1000, "her token is refused within a second");
		const refused = await server.login("ada");
		t.equal(refused.status, 401);
		t.match(await refused.json(), { code: "INVALID_CREDENTIALS" });
		t.equal((await server.get("/protected", await server.tokenFor("root"))).status, 200, "nobody else is refused");

		t.match(JSON.parse((await cli("user enable ada --json")).stdout), { id, username: "ada", disabled: false });
		const next = await server.tokenFor("ada");
		t.ok((await untilStatus(200, () => server.get("/protected", next))) < 1000, "a new token is good within a second");
		t.equal((await useToken()).status, 401, "her session of before has ended for good");

		t.match(await cli("user password ada --password-stdin", "velvet anchor parabola 3141"), { code: 0 });
		t.equal((await server.login("ada")).status, 401, "the old password opens nothing");
		t.equal((await server.login("ada", "velvet anchor parabola 3141")).status, 200);

		t.match(await cli("user roles ada user"), { code: 0, stdout: "ada: user\n" });
		const ended = await untilStatus(401, () => server.get("/protected", next));
		t.ok(ended < 1000, "a new password ends the sessions within a second");
		const last = await server.tokenFor("ada", "velvet anchor parabola 3141");
		const me = await server.get("/me", last);
		t.match(await me.json(), { roles: ["user"], permissions: [] });

		t.match(await cli("user delete ada"), { code: 0, stdout: "deleted ada\n" });
		t.ok(
			(await untilStatus(401, () => server.get("/protected", last))) < 1000,
			"tokens of a deleted account are refused within a second",
		);
		t.equal((await server.login("ada", "velvet anchor parabola 3141")).status, 401);
		const again = await cli("user add ada --password-stdin --json", goodPassword);
		t.not(JSON.parse(again.stdout).id, id, "the name may come back, the id never does");
		t.equal((await useToken()).status, 401);
		t.match(JSON.parse((await cli("user list --json")).stdout), [{ username: "ada" }, { username: "root" }]);
	});

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`${kind}: J07: keys are rotated and revoked beside a running server`, async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, SECRET: testSecret, ...rootAccount };
		const server = await startServer(t, settings);
		const cli = shell(t, settings);
		const shown = async () =>
			((await (await server.get("/.well-known/jwks.json")).json()) as { keys: { kid: string }[] }).keys;
		const token = await server.tokenFor("root");
		const [{ kid: first } = { kid: "" }] = await shown();

		const made = await cli("key rotate");
		t.match(made, { code: 0, stdout: /^made [\w-]{43}; it signs from \d{4}-\d\d-\d\dT[\d:]{8}Z on\n$/, stderr: "" });
		const second = made.stdout.slice(5, 48);
		const again = await cli("key rotate --json");
		t.match(JSON.parse(again.stdout), { kid: second, state: "published", made: false }, "a second one is not made");
		t.match(await cli("key rotate"), { code: 0, stdout: `${second} is published already; it signs from ` });
		const { signs_at, created_at } = JSON.parse(again.stdout) as Record<string, number>;
		t.ok(Number(signs_at) - Number(created_at) >= 330, "not before every verifier can have it");
		const list = JSON.parse((await cli("key list --json")).stdout) as object[];
		t.match(list, [
			{ kid: second, algorithm: "ES256", state: "published", created_at, signs_at, ends_at: null },
			{ kid: first, algorithm: "ES256", state: "active", ends_at: null },
		]);
		const members = ["kid", "algorithm", "state", "created_at", "signs_at", "ends_at", "waits_for"];
		t.same(Object.keys(list[0] ?? {}), members, "no more");
		t.match(list, [{ waits_for: { time: true, server: false } }, { waits_for: null }]);
		t.match((await cli("key list")).stdout, /WAITS FOR\n.* {2}its time/, "what it waits for");
		const shownMs = await until("the server shows it", async () => (await shown()).length === 2, { seconds: 5 });
		t.ok(shownMs < 1000, "the server shows it within a second");

		t.same(await cli(`key revoke ${first}`), {
			code: 0,
			stdout: `revoked ${first}; ${second} signs from now on\n`,
			stderr: "",
		});
		t.ok(
			(await untilStatus(401, () => server.get("/protected", token))) < 1000,
			"its tokens are refused within a second",
		);
		t.equal((await server.get("/protected", await server.tokenFor("root"))).status, 200, "logins go on");
		t.same(
			(await shown()).map(({ kid }) => kid),
			[second],
		);
		t.same(await cli(`key revoke ${first}`), {
			code: 1,
			stdout: "",
			stderr: "gatehouse: The key ring has no key with this id\n",
		});
		const refused = await cli(`key revoke ${first} --json`);
		t.match({ exit: refused.code, ...JSON.parse(refused.stderr) }, { exit: 1, code: "KEY_NOT_FOUND" });
		const last = JSON.parse((await cli(`key revoke ${second} --json`)).stdout);
		t.match(last, { revoked: second, signing: /^[\w-]{43}$/ }, "without a published key a new one signs at once");
		t.match(
			(await cli("key list")).stdout,
			/^KID +ALGORITHM +STATE +PUBLISHED +SIGNS +ENDS +WAITS FOR\n(\S+ +ES256 +(active|gone) .*\n){3}$/,
		);

		const wrong = shell(t, { ...settings, SECRET: "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl" });
		for (const line of ["key rotate", `key revoke ${last.signing}`])
			t.match(await wrong(line), { code: 2, stdout: "", stderr: /SECRET does not open the signing keys/ }, line);
		t.match(await wrong("key list"), { code: 0 }, "a list needs no secret");
		t.equal((await server.login("root")).status, 200, "the wrong secret has changed nothing");
	});

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`${kind}: an account is unlocked with the server's SECRET alone`, async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
		const secretFile = join(temporaryFolder(t), "mounted");
		writeFileSync(secretFile, testSecret);
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, ...rootAccount };
		// Of fifty tries none comes back for half an hour.
		const server = await startServer(t, { ...settings, SECRET_FILE: secretFile, LOGIN_ACCOUNT_FAILURES: "50" });
		for (let count = 0; count < 50; count++) await server.login("root", `wrong password ${count}`);
		t.equal((await server.login("root")).status, 429);

		const another = "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl";
		const cases: [what: string, secret: string | undefined, reason: RegExp][] = [
			["another secret", another, /SECRET does not open the signing keys in the store/],
			["none", undefined, kind === "sqlite" ? /SECRET is not set, and/ : /SECRET is required/],
		];
		for (const [what, SECRET, reason] of cases) {
			const cli = shell(t, { ...settings, SECRET });
			t.match(await cli("user unlock root"), { code: 2, stdout: "", stderr: reason }, what);
			if (kind === "sqlite") t.match(await cli("key list"), { code: 0 }, `${what}: a list needs none`);
			t.equal(existsSync(join(dataDir, "secret")), false, `${what}: no stray one is left`);
		}
		t.equal((await server.login("root")).status, 429, "it is limited still");

		const cli = shell(t, { ...settings, SECRET_FILE: secretFile });
		t.notMatch((await cli("events")).stdout, /account_unlocked/, "and nobody says otherwise");
		t.match(await cli("user unlock root"), { code: 0, stdout: "all wrong tries on root are forgotten\n" });
		t.equal((await server.login("root")).status, 200);
	});

t.test(
	"a shell sees the answer on standard output, refusals on standard error, and exit codes 0, 1 and 2",
	async (t) => {
		const cli = shell(t, { DATA_DIR: join(temporaryFolder(t), "data") });
		t.match(await cli("migrate"), { code: 0, stdout: /^applied \w+/, stderr: "" });
		t.same(await cli("migrate"), { code: 0, stdout: "nothing to do\n", stderr: "" });
		const refused = { code: 1, stdout: "", stderr: "gatehouse: No account has this username\n" };
		t.same(await cli("user disable nobody"), refused);
		t.match(await cli("user frobnicate"), { code: 2, stdout: "", stderr: /is not a command\n\ngatehouse COMMAND/ });
	},
);

t.test("backup copies a live store, the copy starts a working service, and nothing is ever overwritten", async (t) => {
	const folder = temporaryFolder(t);
	const settings = { DATA_DIR: folder, SECRET: testSecret, ...rootAccount };
	const server = await startServer(t, settings);
	const token = await server.tokenFor("root");
	const cli = shell(t, settings);
	const restored = join(folder, "restored");
	mkdirSync(restored);
	const copy = join(restored, "gatehouse.db");
	t.match(await cli(`backup ${copy}`), { code: 0, stdout: `wrote ${copy}\n`, stderr: "" });
	t.equal(statSync(copy).mode & 0o777, 0o600);
	t.match(await cli(`backup ${copy}`), { code: 1, stdout: "", stderr: /^gatehouse: .* exists already: .*\n$/ });
	t.match(await cli(`backup ${join(folder, "gatehouse.db")}`), { code: 1, stderr: /exists already/ });
	t.match(await cli("backup"), { code: 2, stderr: /FILE is missing/ });
	t.equal((await server.get("/protected", token)).status, 200, "the live store goes on");
	const second = await startServer(t, { DATA_DIR: restored, SECRET: testSecret });
	t.equal((await second.login("root")).status, 200, "the copy has the accounts");
	t.equal((await second.get("/protected", token)).status, 200, "and the keys");
});

t.test("backup of PostgreSQL names the tool for it", async (t) => {
	const { databaseUrl } = await openStoreLocation(t, "postgres");
	const answer = await shell(t, { DATABASE_URL: databaseUrl, SECRET: testSecret })("backup copy.db");
	t.match(answer, { code: 1, stdout: "", stderr: /^gatehouse: backup copies a SQLite store.*pg_dump.*\n$/ });
});

t.test(
	"config shows every setting with its source and masks secrets; wrong settings are reported at once",
	async (t) => {
		const folder = temporaryFolder(t);
		writeFileSync(join(folder, "secret"), `${testSecret}\n`);
		const settings = {
			SECRET_FILE: join(folder, "secret"),
			DATABASE_URL: "postgres://gatehouse:hidden-word@127.0.0.1:1/gatehouse",
			...rootAccount,
		};
		const cli = shell(t, settings);
		const { code, stdout } = await cli("config");
		t.equal(code, 0, "it needs no store");
		for (const hidden of [testSecret, "hidden-word", goodPassword]) t.notOk(stdout.includes(hidden));
		t.match(stdout, /^SECRET +\*{8} +file$/m);
		t.match(stdout, /^DATABASE_URL +\*{8} +environment$/m);
		t.match(stdout, /^BOOTSTRAP_USERNAME +root +environment$/m);
		t.match(stdout, /^HASH_COST +10 +environment$/m);
		t.match(stdout, /^ACCESS_TOKEN_SECONDS +900 +default$/m);
		t.match(stdout, /^REDIRECT_HOSTS +none +default$/m, "an empty list says so");
		const json = await cli("config --json");
		t.notOk(json.stdout.includes("hidden-word"));
		const rows = JSON.parse(json.stdout) as { name: string }[];
		t.match(
			rows.find(({ name }) => name === "SECRET"),
			{ value: "********", source: "file" },
		);

		const wrong = shell(t, { ...settings, PORT: "x", HASH_COST: "9" });
		t.match(await wrong("config"), { code: 2, stdout: "", stderr: /PORT must be .*\n.*HASH_COST must be/ });
		const report = await wrong("user list --json");
		t.match({ code: report.code, ...JSON.parse(report.stderr) }, { code: "WRONG_SETTINGS", message: /PORT/ });
	},
);
