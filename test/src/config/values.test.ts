/** Values that are not acceptable, and how each is refused: rows K01, K03 and K04. */
import t from "tap";
import { accepted, postgres, problems, refused, testSecret } from "../../support/settings.ts";

const production = { NODE_ENV: "production", ISSUER: "https://login.example.com" };

t.test("K01: a missing, short or example secret is refused, by its name and never with its value", async (t) => {
	t.same(problems({ ...postgres }).length, 1);
	t.match(problems({ ...postgres }), [/^SECRET is required with PostgreSQL: .*openssl rand -base64 32$/]);
	accepted(t, { ...postgres, SECRET: testSecret }, { secret: testSecret });
	for (const short of ["x", "secret", "Zk3v9QpL0xWm", testSecret.slice(0, 31)]) {
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

t.test("K03: settings that weaken safety are refused", async (t) => {
	const cookies = { ...production, TOKEN_LOCATIONS: "header,cookie" };
	refused(t, "ISSUER", "https://example.com/auth", /must not have a path where TOKEN_LOCATIONS has cookie/, cookies);
	accepted(t, { ...production, ISSUER: "https://example.com/auth" });
	accepted(t, cookies);
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
	// Its path is one of the routes: https://a.b/:x would answer for every tenant, and https://a.b/*x stop the start.
	const routes = ["https://a.b/:x", "https://a.b/*x", "https://a.b/%41", "https://a.b//x", "https://a.b/x;y"];
	for (const value of [...wrong, ...more, ...routes]) refused(t, "ISSUER", value, /must be/);
	for (const issuer of ["https://example.com/login", "https://example.com/t/our-own_1.0~x"])
		accepted(t, { ISSUER: issuer }, { issuer });
	accepted(t, { AUDIENCE: " one, two ,,three" }, { audience: ["one", "two", "three"] });
	for (const value of ["mysql://db/x", "db.example.com", "postgres//x"])
		refused(t, "DATABASE_URL", value, /postgres:\/\//);
});

t.test("what every token carries is short: tokens have to fit into a header", async (t) => {
	const long = (letters: number) => "a".repeat(letters);
	const names = (count: number) => Array.from({ length: count }, (_, index) => `service-${index}`);
	for (const name of ["AUDIENCE", "CLIENT_ID"]) {
		accepted(t, { [name]: long(256) });
		refused(t, name, long(257), /must not be longer than 256 characters/);
	}
	refused(t, "AUDIENCE", `one,${long(257)},two`, /must not be longer than 256 characters/);
	accepted(t, { AUDIENCE: `${long(256)},${long(256)}` }, { audience: [long(256), long(256)] });
	accepted(t, { AUDIENCE: names(16).join(",") }, { audience: names(16) });
	refused(t, "AUDIENCE", names(17).join(","), /must not have more than 16 entries/);
	const path = (letters: number) => `https://login.example.com/${long(letters - 26)}`;
	accepted(t, { ISSUER: path(256) }, { issuer: path(256), audience: [path(256)] });
	refused(t, "ISSUER", path(257), /must not be longer than 256 characters/);
});

t.test("K04: a collector's address has no credentials and no query; a share is a number from 0 to 1", async (t) => {
	for (const value of ["http://collector:4318", "https://otel.example.com/base/"])
		accepted(t, { OTEL_EXPORTER_OTLP_ENDPOINT: value }, { tracesEndpoint: value });
	for (const value of [
		"collector:4318",
		"grpc://collector:4317",
		"http://me:hidden@collector",
		"http://collector?key=x",
	])
		refused(t, "OTEL_EXPORTER_OTLP_ENDPOINT", value, /must be an http or https address without user/);
	for (const [text, share] of [
		["0", 0],
		["1", 1],
		["0.05", 0.05],
		["1.0", 1],
	] as const)
		accepted(t, { OTEL_TRACES_SAMPLER_ARG: text }, { tracesRatio: share });
	for (const value of ["2", "1.01", "-1", "5%", "half", ".5", "1e-3", "Infinity"])
		refused(t, "OTEL_TRACES_SAMPLER_ARG", value, /must be a number from 0 to 1/);
});
