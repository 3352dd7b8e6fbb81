/** The root secret and its file. */
import fs, { fstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import t from "tap";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { deriveKey, getSecret, openSecret } from "../../src/secret.ts";
import { readOrCreate } from "../../src/secret-file.ts";
import { testSecret } from "../support/settings.ts";
import { temporaryFolder } from "../support/stores.ts";

t.test(
	"J08: the secret is made once, with 256 random bits and mode 0600, and is the same at the next start",
	async (t) => {
		const dataDir = join(temporaryFolder(t), "deep", "data");
		const { config } = loadConfig({ DATA_DIR: dataDir });
		const made = openSecret(config);
		t.match(made, /^[\w-]{43}$/);
		t.equal(statSync(join(dataDir, "secret")).mode & 0o777, 0o600);
		t.equal(statSync(dataDir).mode & 0o777, 0o700);
		t.equal(openSecret(config), made);
		t.same(readdirSync(dataDir), ["secret"], "no draft is left");
		const { config: other } = loadConfig({ DATA_DIR: temporaryFolder(t) });
		t.not(openSecret(other), made);
	},
);

t.test("a SECRET that is set is used, and no file is made", async (t) => {
	const dataDir = join(temporaryFolder(t), "data");
	t.equal(openSecret(loadConfig({ DATA_DIR: dataDir, SECRET: testSecret }).config), testSecret);
	t.throws(() => statSync(dataDir), { code: "ENOENT" });
});

t.test("who only reads the secret makes none", async (t) => {
	const dataDir = join(temporaryFolder(t), "data");
	const { config } = loadConfig({ DATA_DIR: dataDir });
	t.throws(() => getSecret(config), {
		code: "WRONG_SETTINGS",
		message: /SECRET is not set, and .*secret is not there/,
	});
	t.throws(() => statSync(dataDir), { code: "ENOENT" });
	const made = openSecret(config);
	t.equal(getSecret(config), made);
});

t.test("K01: an emptied or cut secret file stops the start and is never replaced", async (t) => {
	const dataDir = temporaryFolder(t);
	for (const content of ["", "\n", "short"]) {
		writeFileSync(join(dataDir, "secret"), content);
		t.throws(() => openSecret(loadConfig({ DATA_DIR: dataDir }).config), ConfigError);
		t.throws(() => getSecret(loadConfig({ DATA_DIR: dataDir }).config), ConfigError);
		t.equal(readFileSync(join(dataDir, "secret"), "utf8"), content);
	}
});

t.test("of several that make a file together all get the one that came first", async (t) => {
	const file = join(temporaryFolder(t), "secret");
	const second = () => "second";
	// While the first still makes its secret, the second has already finished.
	const first = readOrCreate(file, () => {
		readOrCreate(file, second);
		return "first";
	});
	t.equal(first, "second");
	t.equal(
		readOrCreate(file, () => "third"),
		"second",
	);
	const folder = join(temporaryFolder(t), "folder");
	mkdirSync(folder);
	t.throws(
		() => readOrCreate(folder, second),
		{ code: "EISDIR" },
		"what cannot be read is no reason to make a new one",
	);
});

t.test(
	"K01: the secret is on the disk before it has its name, and its name before anybody has the secret",
	async (t) => {
		const folder = temporaryFolder(t);
		const steps: string[] = [];
		const { fsyncSync, linkSync } = fs;
		// Runs last, when both are themselves again.
		t.teardown(syncBuiltinESMExports);
		t.intercept(fs, "fsyncSync", {
			value: (opened: number) => {
				const found = fstatSync(opened);
				const what = found.isDirectory() ? `the folder with ${readdirSync(folder).join()}` : `${found.size} bytes`;
				steps.push(`synced ${what}`);
				fsyncSync(opened);
			},
		});
		t.intercept(fs, "linkSync", {
			value: (from: string, to: string) => {
				steps.push("named");
				linkSync(from, to);
			},
		});
		syncBuiltinESMExports();
		t.equal(
			readOrCreate(join(folder, "secret"), () => testSecret),
			testSecret,
		);
		t.same(steps, [`synced ${testSecret.length + 1} bytes`, "named", "synced the folder with secret"]);
	},
);

t.test("each purpose has a key of its own, which follows from the secret alone", async (t) => {
	const key = deriveKey(testSecret, "signing keys");
	t.equal(key.length, 32);
	t.ok(key.equals(deriveKey(testSecret, "signing keys")));
	t.notOk(key.equals(deriveKey(testSecret, "refresh tokens")));
	t.notOk(key.equals(deriveKey(`${testSecret}x`, "signing keys")));
	t.notOk(key.toString("latin1").includes(testSecret.slice(0, 8)));
});
