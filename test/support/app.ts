/** Builders for tests: a whole application over a fresh store, an account in it, and tokens of every kind. */
import { sign } from "node:crypto";
import { hashSync } from "@node-rs/bcrypt";
import type { LightMyRequestResponse } from "fastify";
import { type Level, pino } from "pino";
import type { Test } from "tap";
import { type App, buildApp } from "../../src/app.ts";
import type { Clock } from "../../src/clock.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import type { Caller } from "../../src/credentials.ts";
import type { StoredPassword } from "../../src/passwords/passwords.ts";
import { createPermissions } from "../../src/permissions.ts";
import { randomId } from "../../src/random.ts";
import { createRevocations } from "../../src/revocations.ts";
import { openAccounts, openServices, type Services } from "../../src/services.ts";
import type { Session } from "../../src/sessions/session.ts";
import { createSessions, type Device } from "../../src/sessions/sessions.ts";
import type { StoreKind } from "../../src/store/migrations.ts";
import type { Store } from "../../src/store/store.ts";
import { createDeviceTokens } from "../../src/throttle/device-token.ts";
import { createLimits } from "../../src/throttle/limits.ts";
import type { AccessClaims } from "../../src/tokens.ts";
import type { Tracing } from "../../src/tracing.ts";
import { createUsers } from "../../src/users/users.ts";
import { testSecret } from "./settings.ts";
import { openStoreLocation, type StoreLocation } from "./stores.ts";

/** A password that every policy here accepts. */
export const goodPassword = "copper thistle meridian 2718";

/** bcrypt's lowest cost: a hash takes under a millisecond instead of fifty. */
const quickCost = 4;

/** A clock that moves only when told. */
export interface FakeClock extends Clock {
	advance(seconds: number): void;
}

export function createFakeClock(start = Math.floor(Date.now() / 1000)): FakeClock {
	let now = start;
	return {
		now: () => now,
		advance: (seconds) => {
			now += seconds;
		},
	};
}

export interface TestApp {
	app: App;
	services: Services;
	clock: FakeClock;
	/** Every line logged so far, parsed. */
	logged: Record<string, unknown>[];
	/** The raw text of the log, to search for what must not be there. */
	rawLog(): string;
	/** Makes an account with `goodPassword` and answers its id. */
	addUser(username: string, roles?: string[]): Promise<string>;
	/** Posts the login form. */
	login(username: string, password?: string): Promise<LightMyRequestResponse>;
	/** Logs in and answers the access token. */
	tokenFor(username: string): Promise<string>;
	/** GET with a Bearer token. */
	get(url: string, token?: string): Promise<LightMyRequestResponse>;
	/** Signs any header and payload with the service's own key, as an attacker with the key would. */
	mint(claims: unknown, header?: Record<string, unknown>): string;
	/** The claims of a token that is good for this account. */
	claims(userId: string): AccessClaims;
}

export interface TestAppOptions {
	store?: StoreKind;
	/** Settings by their environment names, over the test's defaults. */
	settings?: Record<string, string>;
	/** Registers more routes before the application is ready. */
	extend?: (app: App) => void;
	logLevel?: Level;
	/** No administrator `root`: the start makes the first account, or none. */
	empty?: boolean;
	/** Opens over this store location instead of a fresh one. */
	location?: StoreLocation;
	clock?: FakeClock;
	/** Where spans go; the caller closes it. */
	tracing?: Tracing;
}

/** Form-encodes fields as a browser would. */
export const form = (fields: Record<string, string>) => ({
	payload: new URLSearchParams(fields).toString(),
	headers: { "content-type": "application/x-www-form-urlencoded" },
});

/** `TEST_STORE=postgres` runs what is the same on either store on the other one. */
export const usualStore = (process.env.TEST_STORE ?? "sqlite") as StoreKind;
if (usualStore !== "sqlite" && usualStore !== "postgres") throw new Error(`TEST_STORE is ${usualStore}`);

/** An application over a fresh store (SQLite unless told otherwise), closed when the test ends. */
export async function testApp(t: Test, options: TestAppOptions = {}): Promise<TestApp> {
	const location = options.location ?? (await openStoreLocation(t, options.store ?? usualStore));
	const { config: loaded } = loadConfig({
		NODE_ENV: "test",
		PORT: "0",
		ISSUER: "http://localhost:3000",
		HASH_COST: "10",
		HASH_MAX_WAIT_SECONDS: "30",
		// Few tests are about guessing, many give wrong passwords.
		LOGIN_LIMITS: "off",
		SECRET: testSecret,
		DATA_DIR: location.dataDir,
		...(location.databaseUrl ? { DATABASE_URL: location.databaseUrl } : {}),
		...options.settings,
	});
	// No setting allows so little work: only tests, of which few are about the work itself, can do with it.
	const config = { ...loaded, hashCost: options.settings?.HASH_COST === undefined ? quickCost : loaded.hashCost };
	let raw = "";
	const write = (line: string) => {
		raw += line;
	};
	const log = pino({ level: options.logLevel ?? "trace" }, { write });
	const clock = options.clock ?? createFakeClock();
	if (!options.empty) await seedRoot(config, clock);
	const services = await openServices(config, { log, clock, tracing: options.tracing });
	// A test that keeps this process busy would be refused for it; what is said by hand still counts.
	services.pressure.close();
	services.pressure.enter = () => services.pressure.stats().level;
	const app = await buildApp(services);
	t.teardown(async () => {
		await app.close();
		await services.close();
	});
	options.extend?.(app);
	await app.ready();

	const mint = (claims: unknown, header: Record<string, unknown> = {}): string => {
		const { kid, algorithm, privatePem } = services.keys.signing();
		const full = { alg: algorithm, typ: "at+jwt", kid, ...header };
		const input = [full, claims]
			.map((part) => encode(typeof part === "string" ? part : JSON.stringify(part)))
			.join(".");
		const key = { key: privatePem, dsaEncoding: "ieee-p1363" as const };
		const signature = sign(algorithm === "EdDSA" ? null : "sha256", Buffer.from(input), key);
		return `${input}.${signature.toString("base64url")}`;
	};
	const login = (username: string, password = goodPassword) =>
		app.inject({ method: "POST", url: "/login", ...form({ username, password }) });
	return {
		app,
		services,
		clock,
		get logged() {
			return raw
				.split("\n")
				.filter(Boolean)
				.map((line) => JSON.parse(line) as Record<string, unknown>);
		},
		rawLog: () => raw,
		addUser: (username, roles = ["user"]) => services.users.add(username, goodHash(config.hashCost), roles),
		login,
		async tokenFor(username) {
			const answer = await login(username);
			t.equal(answer.statusCode, 200, `${username} logs in`);
			return answer.json<{ access_token: string }>().access_token;
		},
		get: (url, token) =>
			app.inject({ method: "GET", url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }),
		mint,
		claims: (userId) => {
			const user = { id: userId, username: "", disabled: false, createdAt: 0, roles: ["user"], permissions: [] };
			return services.tokens.claimsFor(user, aSession(userId, clock.now()), { fresh: true });
		},
	};
}

/** Where the logins of these tests come from. */
export const aDevice: Caller & Device = { userAgent: "a test", address: "127.0.0.1", requestId: "a test" };

/** The accounts of a store and their sessions, for tests below the application. */
export function openUsers(store: Store, clock: Clock, onPasswordReplaced: (username: string) => void = () => {}) {
	const revocations = createRevocations({ store });
	const sessions = createSessions({ store, revocations, config: loadConfig({}).config });
	const permissions = createPermissions({ store });
	const users = createUsers({ store, clock, permissions, sessions, onPasswordReplaced });
	const getKeys = (): [Buffer] => [Buffer.alloc(32, 1)];
	const limits = createLimits({
		store,
		config: loadConfig({ LOGIN_LIMITS: "off" }).config,
		getKeys,
		securityEvents: { record() {} },
	});
	return {
		revocations,
		sessions,
		users,
		limits,
		deviceTokens: createDeviceTokens({ getKeys, isTooOld: revocations.isTooOld }),
	};
}

/** A session of this account as it could be, without a row in the store. */
export function aSession(userId: string, now: number): Session {
	const [expiresAt, accessUntil] = [now + 86_400, now + 86_400];
	const times = { createdAt: now, authenticatedAt: now, refreshedAt: now, expiresAt, accessUntil };
	const device = { userAgent: null, address: "127.0.0.1" };
	return { id: randomId(), userId, generation: 0, ...device, ...times, absoluteExpiresAt: now + 90 * 86_400 };
}

/** An administrator in an empty store, before the service would make one: a hash for each test would take minutes. */
async function seedRoot(config: Config, clock: Clock): Promise<void> {
	const { store, users, close } = await openAccounts(config, clock);
	await store.migrate();
	if (await users.isEmpty()) await users.add("root", goodHash(config.hashCost), ["admin"]);
	await close();
}

const hashes = new Map<number, string>();

/** `goodPassword` as the service would store it, hashed once a cost and process. */
function goodHash(cost: number): StoredPassword {
	const hash = hashes.get(cost) ?? hashSync(goodPassword, cost);
	hashes.set(cost, hash);
	return { hash, scheme: "bcrypt" };
}

/** One segment of a token. A string is taken as it is, so that broken JSON can be sent too. */
const encode = (text: string): string => Buffer.from(text).toString("base64url");
