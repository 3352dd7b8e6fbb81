/** The commands as real processes, beside a server that runs: what they change holds there, and scripts can rely on them. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { type RunningServer, rootAccount, run, startServer, testSecret } from "../support/process.ts";
import { openStoreLocation, temporaryFolder } from "../support/stores.ts";

/** Runs a command line and answers what a shell would see. */
const shell =
	(t: Test, settings: Record<string, string | undefined>) =>
	async (line: string, input = "") => {
		const { code, stdout, stderr } = await run(t, line.split(" "), settings, input);
		return { code, stdout, stderr };
	};

/** How long it takes until an answer has this status, in milliseconds. */
async function until(status: number, ask: () => Promise<Response>): Promise<number> {
	const began = performance.now();
	while (performance.now() - began < 5000) {
		if ((await ask()).status === status) return performance.now() - began;
		await sleep(25);
	}
	return Number.POSITIVE_INFINITY;
}

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
		t.ok((await until(401, useToken)) < 1000, "her token is refused within a second");
		const refused = await server.login("ada");
		t.equal(refused.status, 401);
		t.match(await refused.json(), { code: "INVALID_CREDENTIALS" });
		t.equal((await server.get("/protected", await server.tokenFor("root"))).status, 200, "nobody else is refused");

		t.match(JSON.parse((await cli("user enable ada --json")).stdout), { id, username: "ada", disabled: false });
		t.ok((await until(200, useToken)) < 1000, "it is good again within a second");

		t.match(await cli("user password ada --password-stdin", "velvet anchor parabola 3141"), { code: 0 });
		t.equal((await server.login("ada")).status, 401, "the old password opens nothing");
		t.equal((await server.login("ada", "velvet anchor parabola 3141")).status, 200);

		t.match(await cli("user roles ada user"), { code: 0, stdout: "ada: user\n" });
		const me = await server.get("/me", await server.tokenFor("ada", "velvet anchor parabola 3141"));
		t.match(await me.json(), { roles: ["user"], permissions: [] });

		t.match(await cli("user delete ada"), { code: 0, stdout: "deleted ada\n" });
		t.ok((await until(401, useToken)) < 1000, "tokens of a deleted account are refused within a second");
		t.equal((await server.login("ada", "velvet anchor parabola 3141")).status, 401);
		const again = await cli("user add ada --password-stdin --json", goodPassword);
		t.not(JSON.parse(again.stdout).id, id, "the name may come back, the id never does");
		t.equal((await useToken()).status, 401);
		t.match(JSON.parse((await cli("user list --json")).stdout), [{ username: "ada" }, { username: "root" }]);
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
