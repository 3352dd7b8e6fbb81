/** The settings: what is taken, what is refused, and how a refusal reads. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { browsable, type Config, ConfigError, loadConfig, settings, shown } from "../../src/config/config.ts";
import { temporaryFolder } from "../support/stores.ts";

type Environment = Record<string, string>;
const secret = "dGVzdCBydW4gb25seSwgbm90aGluZyB0byBoaWRl/9qX";
const postgres = { DATABASE_URL: "postgres://gatehouse:hidden-word@db.example.com/gatehouse" };
const production = { NODE_ENV: "production", ISSUER: "https://login.example.com" };

/** What is wrong with these settings. */
function problems(environment: Environment): readonly string[] {
	try {
		loadConfig(environment);
		return [];
	} catch (error) {
		if (error instanceof ConfigError) return error.problems;
		throw error;
	}
}

/** Asserts that one problem is reported, that it begins with the setting's name, and that no value is shown. */
function refused(t: Test, name: string, value: string, reason: RegExp | string, more: Environment = {}): void {
	const found = problems({ ...more, [name]: value });
	t.equal(found.length, 1, `${name} is refused: ${found.join(" | ")}`);
	t.match(found[0], reason);
	t.ok(found[0]?.startsWith(name), "by its name");
	if (value.length > 4) t.notOk(found[0]?.includes(value), "without its value");
}

const accepted = (t: Test, environment: Environment, expected: Partial<Config> = {}) => {
	t.same(problems(environment), [], JSON.stringify(environment));
	t.match(loadConfig(environment).config, expected);
};

t.test("nothing has to be set", async (t) => {
	const { config, sources } = loadConfig({});
	t.match(config, {
		environment: "development",
		host: "0.0.0.0",
		port: 3000,
		dataDir: "./data",
		databaseUrl: undefined,
		issuer: "http://localhost:3000",
		audience: ["http://localhost:3000"],
		clientId: "gatehouse",
		signingAlgorithm: "ES256",
		accessTokenSeconds: 900,
		passwordMinLength: 15,
		hashCost: 12,
		trustProxy: [],
		docs: true,
		drainSeconds: 5,
		logLevel: "info",
	});
	t.ok(Object.isFrozen(config));
	t.same([...new Set(Object.values(sources))], ["default"]);
	accepted(t, { PORT: "", TRUST_PROXY: "", SECRET: "", HASH_COST_FILE: "" }, { port: 3000 });
	t.equal(loadConfig({ PORT: "8080" }).config.issuer, "http://localhost:8080");
});

t.test("K01: a missing, short or example secret is refused, by its name and never with its value", async (t) => {
	t.same(problems({ ...postgres }).length, 1);
	t.match(problems({ ...postgres }), [/^SECRET is required with PostgreSQL: .*openssl rand -base64 32$/]);
	accepted(t, { ...postgres, SECRET: secret }, { secret });
	for (const short of ["x", "secret", "Zk3v9QpL0xWm", secret.slice(0, 31)]) {
		refused(t, "SECRET", short, /is shorter than 32 bytes; make one with: openssl/);
		refused(t, "SECRET", short, /is shorter than 32 bytes/, postgres);
	}
	const examples = [
		"changeme-changeme-changeme-changeme",
		"CHANGE_ME_to_something_long_and_random",
		"this-is-only-an-example-of-a-secret!",
		"your-super-secret-key-goes-here-1234",
		"my-own-secret-key-with-many-letters!",
		"please-replace-this-by-another-value",
		"<placeholder for the gatehouse root>",
		"the-default-of-a-service-nobody-set",
		"passwordpasswordpasswordpassword1234",
		"0123456789abcdef0123456789abcdef",
		"abcdefghijklmnopqrstuvwxyz012345",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"abababababababababababababababababab",
	];
	for (const example of examples) refused(t, "SECRET", example, /looks like an example; make one with/, postgres);
});

t.test("K01: the first account is set whole or not at all", async (t) => {
	for (const half of [{ BOOTSTRAP_USERNAME: "root" }, { BOOTSTRAP_PASSWORD: "hidden-word" }]) {
		const found = problems(half);
		t.match(found, [/^BOOTSTRAP_USERNAME and BOOTSTRAP_PASSWORD go together/]);
		t.notMatch(found[0], /hidden-word/);
	}
});

t.test("K02: a mistyped setting is refused, and the report says what was probably meant", async (t) => {
	const cases: [string, string][] = [
		["TRSUT_PROXY", "TRUST_PROXY"],
		["TRUST_PROXI", "TRUST_PROXY"],
		["TRUSTPROXY", "TRUST_PROXY"],
		["ISUER", "ISSUER"],
		["PROT", "PORT"],
		["POTR", "PORT"],
		["HSOT", "HOST"],
		["port", "PORT"],
		["SECERT", "SECRET"],
		["SECRETS", "SECRET"],
		["SECRET_FIEL", "SECRET_FILE"],
		["DATABASE_URI", "DATABASE_URL"],
		["HASHCOST", "HASH_COST"],
		["DRAIN_SECOND", "DRAIN_SECONDS"],
		["ACCESS_TOKEN_SECOND", "ACCESS_TOKEN_SECONDS"],
		["BOOTSTRAP_PASWORD", "BOOTSTRAP_PASSWORD"],
		["BOOTSTRAP_PASSWORD_FLIE", "BOOTSTRAP_PASSWORD_FILE"],
	];
	for (const [typed, meant] of cases) {
		const found = problems({ [typed]: "hidden-word" });
		t.same(found, [`${typed} is not a setting; did you mean ${meant}?`]);
	}
});

t.test(
	"K02: settings have no GATEHOUSE_ prefix; what Kubernetes sets for a service of that name is left alone",
	async (t) => {
		t.same(problems({ GATEHOUSE_SECRET: "hidden-word" }), [
			"GATEHOUSE_SECRET is not a setting; write SECRET without the prefix",
		]);
		t.match(problems({ GATEHOUSE_PORT: "8080" }), [/write PORT without the prefix/]);
		t.match(problems({ GATEHOUSE_COLOUR: "red" }), [
			/^GATEHOUSE_COLOUR is not a setting; settings have no GATEHOUSE_ prefix$/,
		]);
		accepted(t, {
			GATEHOUSE_SERVICE_HOST: "10.0.0.7",
			GATEHOUSE_SERVICE_PORT: "3000",
			GATEHOUSE_SERVICE_PORT_HTTP: "3000",
			GATEHOUSE_PORT: "tcp://10.0.0.7:3000",
			GATEHOUSE_PORT_3000_TCP: "tcp://10.0.0.7:3000",
			GATEHOUSE_PORT_3000_TCP_PROTO: "tcp",
			GATEHOUSE_PORT_3000_TCP_PORT: "3000",
			GATEHOUSE_PORT_3000_TCP_ADDR: "10.0.0.7",
		});
	},
);

t.test("K02: variables that every machine has are none of our business", async (t) => {
	const usual =
		"HOME OS DNS TEST PATH POD PWD USER SHELL LANG TERM HOSTNAME HOSTTYPE LOGNAME MAIL TZ TMPDIR OLDPWD SHLVL _ EDITOR " +
		"DISPLAY CI NODE NODE_OPTIONS NODE_PATH NODE_VERSION YARN_VERSION INIT_CWD COLOR npm_command npm_config_cache PS1 " +
		"KUBERNETES_SERVICE_HOST KUBERNETES_PORT POSTGRES_PASSWORD PGHOST PGPORT PGPASSWORD HTTP_PROXY NO_PROXY SSH_TTY";
	for (const name of usual.split(" ")) t.same(problems({ [name]: "x" }), [], name);
});

t.test("K03: settings that weaken safety are refused", async (t) => {
	refused(t, "ISSUER", "http://login.example.com", /must be an https address in production/, {
		NODE_ENV: "production",
	});
	t.match(problems({ NODE_ENV: "production" }), [/^ISSUER is required in production/]);
	accepted(t, production, { issuer: "https://login.example.com", docs: false });
	accepted(t, { ...production, DOCS: "on" }, { docs: true });
	accepted(t, { ISSUER: "http://login.example.com" });
	for (const cost of ["9", "4", "0", "-10", "15", "31", "1e1", "12.5", " 12", "0x0c", "twelve"])
		refused(t, "HASH_COST", cost, /must be a whole number from 10 to 14/);
	for (const length of ["7", "0", "65"]) refused(t, "PASSWORD_MIN_LENGTH", length, /from 8 to 64/);
	for (const algorithm of ["HS256", "none", "es256", "RS384"])
		refused(t, "SIGNING_ALGORITHM", algorithm, /must be one of/);
	for (const seconds of ["0", "29", "86401"]) refused(t, "ACCESS_TOKEN_SECONDS", seconds, /from 30 to 86400/);
	for (const origin of ["*", "null", "https://one.example.org/", "one.example.org", "https://one.example.org/path"])
		refused(t, "ALLOWED_ORIGINS", origin, /takes origins/);
});

t.test("K04: TRUST_PROXY takes addresses and blocks, never everybody, a number of hops or a name", async (t) => {
	for (const value of ["true", "1", "2", "*", "all", "loopback", "uniquelocal", "proxy.example.com", "10.0.0.1:80"])
		refused(t, "TRUST_PROXY", value, /takes only IP addresses and CIDR blocks .* would believe anyone/);
	for (const value of [
		"192.168.0.0/255.255.0.0",
		"192.168.0.0/",
		"192.168.0.0/16/16",
		"192.168.0/16",
		"[::1]",
		"false",
	])
		refused(t, "TRUST_PROXY", value, /takes only IP addresses/);
	const everybody = ["0.0.0.0/0", "::/0", "0.0.0.0/00", "10.0.0.0/33", "::1/129", "10.0.0.1,0.0.0.0/0"];
	for (const value of [...everybody, "::ffff:0:0/96", "::/1", "::/80"])
		refused(t, "TRUST_PROXY", value, /has a block that holds every address, or none/);
	accepted(
		t,
		{ TRUST_PROXY: "10.0.0.0/8, 192.168.1.7,fd00::/8,::1,::ffff:10.0.0.1" },
		{ trustProxy: ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::1", "::ffff:10.0.0.1"] },
	);
});

t.test("an issuer is written in its one spelling, because it is compared letter by letter", async (t) => {
	const wrong = [
		"login.example.com",
		"ftp://login.example.com",
		"https://login.example.com/",
		"https://LOGIN.example.com",
	];
	const more = [
		"https://login.example.com:443",
		"https://a:b@login.example.com",
		"https://a.example.com/?x",
		"https://a.b/#x",
	];
	for (const value of [...wrong, ...more]) refused(t, "ISSUER", value, /must be/);
	accepted(t, { ISSUER: "https://example.com/login" }, { issuer: "https://example.com/login" });
	accepted(t, { AUDIENCE: " one, two ,,three" }, { audience: ["one", "two", "three"] });
	for (const value of ["mysql://db/x", "db.example.com", "postgres//x"])
		refused(t, "DATABASE_URL", value, /postgres:\/\//);
});

t.test("every setting can come from a file", async (t) => {
	const folder = temporaryFolder(t);
	const values: Record<keyof typeof settings, string> = {
		environment: "test",
		host: "127.0.0.1",
		port: "8080",
		dataDir: "/tmp/data",
		databaseUrl: postgres.DATABASE_URL,
		issuer: "https://login.example.com",
		audience: "one,two",
		clientId: "client",
		secret,
		signingAlgorithm: "EdDSA",
		accessTokenSeconds: "60",
		bootstrapUsername: "root",
		bootstrapPassword: " with spaces around ",
		passwordMinLength: "8",
		hashCost: "11",
		hashThreads: "2",
		hashMaxWaitSeconds: "3",
		revocationMaxStalenessSeconds: "0",
		trustProxy: "10.0.0.0/8",
		allowedOrigins: "https://app.example.com",
		docs: "off",
		drainSeconds: "0",
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
	t.same(problems({ SECRET: secret, SECRET_FILE: file("secret", secret) }), [
		"SECRET and SECRET_FILE are both set; keep one of them",
	]);
	t.match(problems({ SECRET_FILE: file("short", "hidden-word\n"), ...postgres }), [/^SECRET is shorter than 32 bytes/]);
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
	t.equal(shown("secret", secret), "********");
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
