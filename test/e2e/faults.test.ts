/** A fault that nobody handled, and a start over broken files, in the real process: row G07 and fault 28. */
import { existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t, { type Test } from "tap";
import { launchServer, project, rootAccount, startServer } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

/** The service as it is shipped, with a fault that a signal sets off: nothing in it knows of that. */
function faultyProgram(t: Test, fault: string): string[] {
	const file = join(temporaryFolder(t), "fault.mjs");
	writeFileSync(file, `process.on("SIGUSR2", () => { ${fault.replace("PROJECT", project)} });`);
	return ["--import", file, resolve(project, "src/main.ts")];
}

const faults: Record<string, [code: string, said: RegExp]> = {
	"an unhandled rejection": ['Promise.reject(new Error("the disk is on fire"));', /the disk is on fire/],
	"a rejection with an error of the catalogue": [
		'import("PROJECT/src/errors.ts").then(({ errors }) => Promise.reject(new errors.STORE_UNAVAILABLE({ cause: new Error("no disk") })));',
		/no disk.*"code":"STORE_UNAVAILABLE"/,
	],
	"a rejection with no error": ["Promise.reject(undefined);", /undefined/],
	"an exception in a callback": ['setTimeout(() => { throw new Error("out of cheese"); });', /out of cheese/],
};

for (const [what, [code, said]] of Object.entries(faults))
	t.test(`G07: ${what} is logged, and ends the process at once`, async (t) => {
		const settings = { DATA_DIR: temporaryFolder(t), ...rootAccount };
		const server = await startServer(t, settings, faultyProgram(t, code));
		t.equal((await server.login("root")).status, 200);
		const began = performance.now();
		server.signal("SIGUSR2");
		const { code: exitCode, signal, stderr } = await server.ended;
		t.same({ exitCode, signal, stderr }, { exitCode: 1, signal: null, stderr: "" });
		t.ok(performance.now() - began < 3000, "nothing half dead goes on serving");
		const line = server.logged().at(-1);
		t.match(line, { level: 60, msg: /a fault that nobody handled/ });
		t.match(JSON.stringify(line), said);
		t.ok(await server.get("/livez").catch(() => true), "nobody listens");
	});

t.test("G07: a fault while the process drains ends it too, and does not look like a good end", async (t) => {
	const program = faultyProgram(t, 'Promise.reject(new Error("the disk is on fire"));');
	const server = await startServer(t, { DATA_DIR: temporaryFolder(t), DRAIN_SECONDS: "60", ...rootAccount }, program);
	server.signal("SIGTERM");
	await server.until(/"draining"/);
	server.signal("SIGUSR2");
	t.match(await server.ended, { code: 1, signal: null, stderr: "" });
	t.match(server.logged().at(-1), { level: 60, err: { message: "the disk is on fire" } });
});

t.test("fault 28: a start over broken files ends with the reason, in words, and mends nothing by itself", async (t) => {
	const folder = temporaryFolder(t);
	const settings = { DATA_DIR: folder, ...rootAccount };
	const server = await startServer(t, settings);
	server.signal("SIGINT");
	await server.ended;
	const secret = join(folder, "secret");
	const database = join(folder, "gatehouse.db");

	const refused = async (what: string, exitCode: number, reason: RegExp, more: Record<string, string> = {}) => {
		const { code, stdout, stderr } = await launchServer(t, { ...settings, ...more }).ended;
		t.equal(code, exitCode, what);
		t.match(stderr, reason, what);
		t.notMatch(stderr, /^\s+at /m, `${what}: in words, without a stack`);
		t.notMatch(stdout, /Gatehouse is ready/, `${what}: it does not serve`);
	};
	const absent = join(folder, "absent");
	await refused("a secret that was not mounted", 2, /SECRET cannot be read .*ENOENT/, { SECRET_FILE: absent });

	const db = new DatabaseSync(database);
	const sealed = db.prepare("select private_key_sealed as text from signing_keys").get() as { text: string };
	const store = (text: string) => db.prepare("update signing_keys set private_key_sealed = ?").run(text);
	store(sealed.text.slice(0, -20));
	await refused("a signing key that was cut", 2, /SECRET does not open the signing keys in the store/);
	t.match(db.prepare("select count(*) as count from signing_keys").get(), { count: 1 }, "no other key takes its place");
	store(sealed.text);
	db.close();

	truncateSync(secret, 10);
	await refused("a secret that was cut", 2, /secret does not hold a secret; restore it/);
	rmSync(secret);
	await refused("a secret that is gone", 2, /SECRET is not set, and .*secret is not there/);
	t.equal(existsSync(secret), false, "another one would open nothing");
	mkdirSync(secret);
	await refused("a secret that is none", 2, /secret cannot be read \(EISDIR\)/);
	rmSync(secret, { recursive: true });

	for (const name of ["gatehouse.db-wal", "gatehouse.db-shm"]) rmSync(join(folder, name), { force: true });
	writeFileSync(database, "no database at all, and long enough to be looked at ".repeat(20));
	await refused("a broken database", 1, /Cannot open the store that DATA_DIR names: .*Restore a backup/);
});
