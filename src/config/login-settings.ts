/** The settings about accounts, passwords and logins: a part of the table in settings.ts. */
import { optional, setting } from "./setting.ts";
import * as parse from "./values.ts";

/** In the order of the README. */
export const loginSettings = {
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
		doc: "Wrong passwords from one address (IPv6: from one /64) before it has to wait for 15 minutes, 10 to 900; spread out, up to twice as many in that time.",
		parse: parse.integer(10, 900),
		fallback: 100,
	}),
} as const;
