/** The settings as a whole: defaults, files, and how a report of what is wrong reads. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { browsable, ConfigError, loadConfig, settings, shown } from "../../../src/config/config.ts";
import { accepted, type Environment, postgres, problems, testSecret } from "../../support/settings.ts";
import { temporaryFolder } from "../../support/stores.ts";

t.test("nothing has to be set", async (t) => {
	const { config, sources } = loadConfig({});
	t.match(config, {
		environment: "development",
		host: "0.0.0.0",
		port: 3000,
		dataDir: "./data",
		databaseUrl: undefined,
		migrate: true,
		issuer: "http://localhost:3000",
		audience: ["http://localhost:3000"],
		clientId: "gatehouse",
		signingAlgorithm: "ES256",
		keyRotationDays: 30,
		accessTokenSeconds: 900,
		refreshIdleDays: 30,
		refreshAbsoluteDays: 90,
		refreshGraceSeconds: 10,
		tokenLocations: ["header"],
		redirectHosts: [],
		passwordMinLength: 15,
		hashCost: 12,
		trustProxy: [],
		docs: true,
		securityEventDays: 90,
		drainSeconds: 5,
		tracesEndpoint: undefined,
		tracesServiceName: "gatehouse",
		tracesRatio: 1,
		logLevel: "info",
	});
	t.ok(Object.isFrozen(config));
	t.same([...new Set(Object.values(sources))], ["default"]);
	accepted(t, { PORT: "", TRUST_PROXY: "", SECRET: "", HASH_COST_FILE: "" }, { port: 3000 });
	t.equal(loadConfig({ PORT: "8080" }).config.issuer, "http://localhost:8080");
});

t.test("every setting can come from a file", async (t) => {
	const folder = temporaryFolder(t);
	const values: Record<keyof typeof settings, string> = {
		environment: "test",
		host: "127.0.0.1",
		port: "8080",
		managementHost: "127.0.0.1",
		managementPort: "9090",
		dataDir: "/tmp/data",
		databaseUrl: postgres.DATABASE_URL,
		databaseListenUrl: "off",
		migrate: "off",
		issuer: "https://login.example.com",
		audience: "one,two",
		clientId: "client",
		secret: testSecret,
		secretPrevious: testSecret.toLowerCase(),
		signingAlgorithm: "EdDSA",
		keyRotationDays: "7",
		accessTokenSeconds: "60",
		refreshIdleDays: "2",
		refreshAbsoluteDays: "3",
		refreshGraceSeconds: "0",
		bootstrapUsername: "root",
		bootstrapPassword: " with spaces around ",
		passwordMinLength: "8",
		hashCost: "11",
		hashThreads: "2",
		hashMaxWaitSeconds: "3",
		loginLimits: "on",
		loginAccountFailures: "10",
		loginAddressFailures: "100",
		revocationMaxStalenessSeconds: "0",
		trustProxy: "10.0.0.0/8",
		tokenLocations: "header,cookie",
		redirectHosts: "app.example.com",
		allowedOrigins: "https://app.example.com",
		docs: "off",
		securityEventDays: "7",
		drainSeconds: "0",
		tracesEndpoint: "http://collector.example.com:4318",
		tracesServiceName: "login",
		tracesRatio: "0.25",
		logLevel: "warn",
	};
	const direct: Environment = {};
	const files: Environment = {};
	for (const [key, { name }] of Object.entries(settings)) {
		const value = values[key as keyof typeof settings];
		direct[name] = value;
		files[`${name}_FILE`] = join(folder, name);
		writeFileSync(join(folder, name), `${value}\n`);
	}
	t.same(problems(files), []);
	t.same(loadConfig(files).config, loadConfig(direct).config);
	t.equal(loadConfig(files).config.bootstrapPassword, " with spaces around ", "only the last line end is dropped");
	t.same([...new Set(Object.values(loadConfig(files).sources))], ["file"]);
	t.same([...new Set(Object.values(loadConfig(direct).sources))], ["environment"]);
});

t.test("a file that is unreadable, empty or one of two sources is refused", async (t) => {
	const folder = temporaryFolder(t);
	const file = (name: string, content: string) => {
		writeFileSync(join(folder, name), content);
		return join(folder, name);
	};
	mkdirSync(join(folder, "folder"));
	t.match(problems({ SECRET_FILE: join(folder, "absent") }), [
		/^SECRET cannot be read from the file that SECRET_FILE names \(ENOENT\)$/,
	]);
	t.match(problems({ SECRET_FILE: join(folder, "folder") }), [/\(EISDIR\)$/]);
	for (const content of ["", "\n", "\r\n"])
		for (const name of ["SECRET", "BOOTSTRAP_PASSWORD", "HOST"])
			t.ok(
				problems({ [`${name}_FILE`]: file("empty", content) }).includes(
					`${name} is empty in the file that ${name}_FILE names`,
				),
			);
	t.same(problems({ SECRET: testSecret, SECRET_FILE: file("secret", testSecret) }), [
		"SECRET and SECRET_FILE are both set; keep one of them",
	]);
	t.match(problems({ SECRET_FILE: file("short", "hidden-word\n"), ...postgres }), [/^SECRET is shorter than 32 bytes/]);
	t.same(problems({ DATABASE_LISTEN_URL: "off" }), [
		"DATABASE_LISTEN_URL goes with DATABASE_URL: with SQLite there are no notifications",
	]);
	t.match(problems({ HOST_FILE: file("lines", "one\ntwo\n") }), [/^HOST must not hold control characters$/]);
});

t.test("everything that is wrong is in one report, and no value is", async (t) => {
	const wrong = {
		NODE_ENV: "production",
		PORT: "hidden-1",
		HASH_COST: "9",
		TRUST_PROXY: "true",
		SECRET: "hidden-2",
		BOOTSTRAP_PASSWORD: "hidden-3",
		DATABASE_URL: "mysql://hidden-4",
		ISSUER: "http://hidden-5",
		LOG_LEVEL: "hidden-6",
		DOCS: "yes",
		TRSUT_PROXY: "hidden-7",
		GATEHOUSE_SECRET: "hidden-8",
	};
	const found = problems(wrong);
	const names = found.map((problem) => problem.split(" ")[0]).sort();
	const expected = Object.keys(wrong).filter((name) => name !== "NODE_ENV" && name !== "BOOTSTRAP_PASSWORD");
	t.same(names, [...expected, "BOOTSTRAP_USERNAME"].sort());
	const { message } = new ConfigError(found);
	t.match(message, /^Gatehouse does not start with these settings:\n( {2}\* .+\n?)+$/);
	t.notMatch(message, /hidden-\d/);
});

t.test("settings are shown without secrets, and addresses as a person can open them", async (t) => {
	t.equal(shown("secret", testSecret), "********");
	t.equal(shown("secretPrevious", testSecret), "********");
	t.equal(shown("databaseUrl", postgres.DATABASE_URL), "********");
	t.equal(shown("bootstrapPassword", "x"), "********");
	t.equal(shown("secret", undefined), "made in DATA_DIR/secret with SQLite");
	t.equal(shown("audience", ["a", "b"]), "a,b");
	t.equal(shown("docs", false), "off");
	t.equal(shown("port", 3000), "3000");
	for (const host of ["0.0.0.0", "::"]) t.equal(browsable(host, 80), "http://localhost:80");
	t.equal(browsable("::1", 80), "http://[::1]:80");
	t.equal(browsable("127.0.0.1", 80), "http://127.0.0.1:80");
});
