/** Every setting, in one table: name, default, meaning, and what is refused. */
import * as parse from "./values.ts";

/** One setting and how its text becomes a value. */
export interface Setting<Value> {
	/** The environment variable. */
	name: string;
	/** One sentence for the README's table; units are part of the name. */
	doc: string;
	/** Throws a Refusal where the text is not acceptable. */
	parse: (text: string) => Value;
	/** The value where nothing is set. */
	fallback: NoInfer<Value>;
	/** How the default reads in the README, where the value itself does not say it. */
	fallbackDoc?: string;
	/** Never shown, not even by `config`. */
	secret?: true;
}

const setting = <Value>(definition: Setting<Value>) => definition;
const optional = <Value>(definition: Omit<Setting<Value | undefined>, "fallback">): Setting<Value | undefined> => ({
	...definition,
	fallback: undefined,
});

/** The table. `docs` and the README are checked against it by a test. */
export const settings = {
	environment: setting({
		name: "NODE_ENV",
		doc: "`production` turns the production rules on; the image sets it.",
		parse: parse.oneOf("production", "development", "test"),
		fallback: "development",
	}),
	host: setting({
		name: "HOST",
		doc: "Address to listen on.",
		parse: parse.text,
		fallback: "0.0.0.0",
	}),
	port: setting({
		name: "PORT",
		doc: "Port to listen on; 0 picks a free one.",
		parse: parse.integer(0, 65535),
		fallback: 3000,
	}),
	dataDir: setting({
		name: "DATA_DIR",
		doc: "Folder of the SQLite database and of the files made at the first start.",
		parse: parse.text,
		fallback: "./data",
	}),
	databaseUrl: optional({
		name: "DATABASE_URL",
		doc: "`postgres://…` uses PostgreSQL instead of SQLite.",
		parse: parse.postgresUrl,
		fallbackDoc: "SQLite in DATA_DIR",
		secret: true,
	}),
	databaseListenUrl: optional({
		name: "DATABASE_LISTEN_URL",
		doc: "Where notifications of changes are awaited, on a connection of its own; `off` polls alone. Behind PgBouncer in transaction mode: the server itself, or `off`.",
		parse: parse.listenUrl,
		fallbackDoc: "DATABASE_URL",
		secret: true,
	}),
	migrate: setting({
		name: "MIGRATE",
		doc: "`on` or `off`: whether a start brings the tables up to date, or only checks that the command `migrate` did.",
		parse: parse.onOff,
		fallback: true,
		fallbackDoc: "on",
	}),
	issuer: setting({
		name: "ISSUER",
		doc: "The `iss` of every token and the base of the published addresses. Required, and https, in production.",
		parse: parse.issuer,
		fallback: "",
		fallbackDoc: "http://localhost:PORT",
	}),
	audience: setting<readonly string[]>({
		name: "AUDIENCE",
		doc: "The `aud` of every token: a list, separated by commas.",
		parse: parse.claims,
		fallback: [],
		fallbackDoc: "the issuer",
	}),
	clientId: setting({
		name: "CLIENT_ID",
		doc: "The `client_id` of every token (RFC 9068).",
		parse: parse.claim,
		fallback: "gatehouse",
	}),
	secret: optional({
		name: "SECRET",
		doc: "At least 32 random characters, the root of every key that protects the store. Required with PostgreSQL.",
		parse: parse.secret,
		fallbackDoc: "made in DATA_DIR/secret with SQLite",
		secret: true,
	}),
	secretPrevious: optional({
		name: "SECRET_PREVIOUS",
		doc: "The secret before SECRET, while what it protected is still around.",
		parse: parse.secret,
		fallbackDoc: "none",
		secret: true,
	}),
	signingAlgorithm: setting({
		name: "SIGNING_ALGORITHM",
		doc: "`ES256`, `RS256` or `EdDSA`.",
		parse: parse.oneOf("ES256", "RS256", "EdDSA"),
		fallback: "ES256",
	}),
	keyRotationDays: setting({
		name: "KEY_ROTATION_DAYS",
		doc: "A new key takes over from the one that has signed for so long, 1 to 365.",
		parse: parse.integer(1, 365),
		fallback: 30,
	}),
	accessTokenSeconds: setting({
		name: "ACCESS_TOKEN_SECONDS",
		doc: "How long an access token is good, 30 to 86400.",
		parse: parse.integer(30, 86400),
		fallback: 900,
	}),
	refreshIdleDays: setting({
		name: "REFRESH_IDLE_DAYS",
		doc: "A session that is not refreshed for so long ends, 1 to 365.",
		parse: parse.integer(1, 365),
		fallback: 30,
	}),
	refreshAbsoluteDays: setting({
		name: "REFRESH_ABSOLUTE_DAYS",
		doc: "A session ends so long after its login, however often it is refreshed, 1 to 3650.",
		parse: parse.integer(1, 3650),
		fallback: 90,
	}),
	refreshGraceSeconds: setting({
		name: "REFRESH_GRACE_SECONDS",
		doc: "How long the refresh token before the newest one still gets that same newest one, 0 to 60.",
		parse: parse.integer(0, 60),
		fallback: 10,
	}),
	tokenLocations: setting<readonly ("header" | "cookie")[]>({
		name: "TOKEN_LOCATIONS",
		doc: "Where tokens may come: `header`, `cookie` or `header,cookie`. With cookies a browser can log in at /login.",
		parse: parse.someOf("header", "cookie"),
		fallback: ["header"],
	}),
	redirectHosts: setting<readonly string[]>({
		name: "REDIRECT_HOSTS",
		doc: "Other hosts to which a login page may send the browser on (`app.example.com`; `.example.com` for every host under it), by https, separated by commas.",
		parse: parse.hosts,
		fallback: [],
		fallbackDoc: "none",
	}),
	bootstrapUsername: optional({
		name: "BOOTSTRAP_USERNAME",
		doc: "The first administrator of an empty store.",
		parse: parse.text,
		fallbackDoc: "`admin`, with SQLite outside production",
	}),
	bootstrapPassword: optional({
		name: "BOOTSTRAP_PASSWORD",
		doc: "The first administrator's password.",
		parse: parse.text,
		fallbackDoc: "random, in DATA_DIR/admin-password",
		secret: true,
	}),
	passwordMinLength: setting({
		name: "PASSWORD_MIN_LENGTH",
		doc: "Shortest new password in characters (code points), 8 to 64.",
		parse: parse.integer(8, 64),
		fallback: 15,
	}),
	hashCost: setting({
		name: "HASH_COST",
		doc: "bcrypt cost of new password hashes, 10 to 14; others are replaced at the next login.",
		parse: parse.integer(10, 14),
		fallback: 12,
	}),
	hashThreads: optional({
		name: "HASH_THREADS",
		doc: "Threads that hash passwords, 1 to 64.",
		parse: parse.integer(1, 64),
		fallbackDoc: "the CPUs of the container",
	}),
	hashMaxWaitSeconds: setting({
		name: "HASH_MAX_WAIT_SECONDS",
		doc: "A login that would wait longer for its hash is answered 503 `BUSY` at once, 1 to 30.",
		parse: parse.integer(1, 30),
		fallback: 2,
	}),
	loginLimits: setting({
		name: "LOGIN_LIMITS",
		doc: "`on` or `off`: the limits on guessing passwords. `off` is for load tests.",
		parse: parse.onOff,
		fallback: true,
	}),
	loginAccountFailures: setting({
		name: "LOGIN_ACCOUNT_FAILURES",
		doc: "Wrong passwords for one account before a delay that grows up to 15 minutes, 1 to 50; at most 100 are compared in 24 hours.",
		parse: parse.integer(1, 50),
		fallback: 10,
	}),
	loginAddressFailures: setting({
		name: "LOGIN_ADDRESS_FAILURES",
		doc: "Wrong passwords from one address (IPv6: from one /64) before it has to wait for 15 minutes, 10 to 900.",
		parse: parse.integer(10, 900),
		fallback: 100,
	}),
	revocationMaxStalenessSeconds: setting({
		name: "REVOCATION_MAX_STALENESS_SECONDS",
		doc: "How long tokens are accepted while the store cannot be reached, 0 to 86400; 0 refuses at once.",
		parse: parse.integer(0, 86400),
		fallback: 300,
	}),
	trustProxy: setting<readonly string[]>({
		name: "TRUST_PROXY",
		doc: "Addresses or CIDR blocks of the proxies whose X-Forwarded headers and X-Request-Id are believed, separated by commas.",
		parse: parse.addresses,
		fallback: [],
		fallbackDoc: "none",
	}),
	allowedOrigins: setting<readonly string[]>({
		name: "ALLOWED_ORIGINS",
		doc: "Other origins whose pages may post here (`https://app.example.com`), separated by commas; asked where a browser sends Origin without Sec-Fetch-Site.",
		parse: parse.origins,
		fallback: [],
		fallbackDoc: "none",
	}),
	docs: setting({
		name: "DOCS",
		doc: "`on` or `off`: the OpenAPI page at /docs.",
		parse: parse.onOff,
		fallback: true,
		fallbackDoc: "on, in production off",
	}),
	securityEventDays: setting({
		name: "SECURITY_EVENT_DAYS",
		doc: "How long security events stay in the store, 1 to 3650.",
		parse: parse.integer(1, 3650),
		fallback: 90,
	}),
	drainSeconds: setting({
		name: "DRAIN_SECONDS",
		doc: "Normal service after SIGTERM, while /readyz already answers 503, 0 to 300.",
		parse: parse.integer(0, 300),
		fallback: 5,
	}),
	logLevel: setting({
		name: "LOG_LEVEL",
		doc: "`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`.",
		parse: parse.oneOf("fatal", "error", "warn", "info", "debug", "trace", "silent"),
		fallback: "info",
	}),
} as const;
