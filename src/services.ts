/** The composition root: builds every service from the configuration, in order, and knows how to close them. */
import { type Bootstrap, bootstrap, forgetInitialPassword } from "./bootstrap.ts";
import { createChanges } from "./changes.ts";
import { choresOf } from "./chores.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import { createCredentials } from "./credentials.ts";
import { openHousekeeping } from "./housekeeping.ts";
import { createKeys } from "./keys/keys.ts";
import { createRotation, type KeyChange } from "./keys/rotation.ts";
import type { Log } from "./log.ts";
import { openPasswords } from "./passwords/passwords.ts";
import { createPermissions } from "./permissions.ts";
import { openPressure } from "./pressure.ts";
import { createReadiness } from "./readiness.ts";
import { createReplicaReports } from "./replicas.ts";
import { createRevocations } from "./revocations.ts";
import { deriveKeys, openSecret } from "./secret.ts";
import { openSecurityEvents } from "./security-events/recorder.ts";
import { createStoredEvents } from "./security-events/stored.ts";
import { createCsrf } from "./sessions/csrf.ts";
import { createRefresh } from "./sessions/refresh.ts";
import { createRefreshTokens } from "./sessions/refresh-token.ts";
import { createSessions } from "./sessions/sessions.ts";
import { openStore, type Store } from "./store/store.ts";
import { createDeviceTokens } from "./throttle/device-token.ts";
import { createLimits } from "./throttle/limits.ts";
import { createTokens } from "./tokens.ts";
import type { Tracing } from "./tracing.ts";
import { createUsers } from "./users/users.ts";

export type Services = Awaited<ReturnType<typeof openServices>>;

/**
 * What the CLI and the server both stand on: the store, not yet migrated, and the services over it. No key, no token.
 *
 * @param log where security events go besides the store; a command has none.
 * @param tracing who hears of statements and hashes, where traces are on.
 */
export async function openAccounts(config: Config, clock: Clock = systemClock, log?: Log, tracing?: Tracing) {
	const store = await openStore({
		databaseUrl: config.databaseUrl,
		databaseListenUrl: config.databaseListenUrl,
		dataDir: config.dataDir,
		clock,
		onStatement: tracing?.statement,
	});
	const storedEvents = createStoredEvents({ store });
	const securityEvents = openSecurityEvents({ stored: storedEvents, clock, log });
	const permissions = createPermissions({ store });
	const revocations = createRevocations({ store });
	const sessions = createSessions({ store, revocations, config });
	const users = createUsers({
		store,
		clock,
		permissions,
		sessions,
		onPasswordReplaced: (username) => forgetInitialPassword(config, username),
	});
	const pool = openPasswords({
		cost: config.hashCost,
		threads: config.hashThreads,
		maxWaitSeconds: config.hashMaxWaitSeconds,
		minLength: config.passwordMinLength,
	});
	const passwords = tracing === undefined ? pool : tracing.around(pool);
	const limits = createLimits({
		store,
		config,
		getKeys: once(() => deriveKeys(config, "login limits")),
		securityEvents,
	});
	const deviceTokens = createDeviceTokens({
		getKeys: once(() => deriveKeys(config, "device tokens")),
		isTooOld: revocations.isTooOld,
	});
	const credentials = createCredentials({ users, sessions, passwords, limits, deviceTokens });
	return {
		store,
		storedEvents,
		securityEvents,
		permissions,
		revocations,
		sessions,
		users,
		passwords,
		limits,
		credentials,
		/** Closes all; answers how many security events could not be stored. */
		async close(): Promise<number> {
			await passwords.close();
			const lost = await securityEvents.close();
			await store.close();
			return lost;
		},
	};
}

/** What every start does before it reads a table: migrates, or where MIGRATE=off makes sure that somebody has. */
export async function bringUpToDate({ migrate }: Pick<Config, "migrate">, store: Store): Promise<void> {
	if (migrate) await store.migrate();
	else await store.requireMigrated();
}

/** A value that is made at the first use: most commands need no key, and so no SECRET. */
function once<Value>(make: () => Value): () => Value {
	let made: { value: Value } | undefined;
	return () => {
		made ??= { value: make() };
		return made.value;
	};
}

/** The key ring over a store: as requests read it, and what changes it. */
export function openRing(config: Config, store: Store) {
	const getSealingKeys = once(() => deriveKeys(config, "signing keys"));
	const replicaReports = createReplicaReports({ store });
	return {
		keys: createKeys({ store, getSealingKeys }),
		replicaReports,
		rotation: createRotation({
			store,
			replicaReports,
			makeSecret: () => openSecret(config),
			getSealingKeys,
			config,
		}),
	};
}

/**
 * Opens everything a server needs: migrates the store, makes the first key and the first account, loads the ring and
 * the revocations, and starts to follow changes.
 *
 * @throws where the store cannot be reached, a key is weak or SECRET does not open it; nothing stays open then.
 */
export async function openServices(
	config: Config,
	{ log, clock = systemClock, tracing }: { log: Log; clock?: Clock; tracing?: Tracing | undefined },
) {
	/** What is open so far; it is closed in reverse. */
	const opened = new AsyncDisposableStack();
	try {
		const accounts = await openAccounts(config, clock, log, tracing);
		opened.defer(async () => void (await accounts.close()));
		const { store, securityEvents, revocations, sessions, users } = accounts;
		await bringUpToDate(config, store);
		const { keys, replicaReports, rotation } = openRing(config, store);
		const recordKey = ({ kid, state }: KeyChange) => securityEvents.record({ event: `key_${state}`, kid });
		// First what is there: a wrong SECRET must stop the start before it adds a key of its own.
		await keys.load((_kid, error) => {
			throw error;
		});
		for (const key of await rotation.start()) recordKey(key);
		const bootstrapped: Bootstrap = await bootstrap(config, accounts);
		if (bootstrapped.outcome === "made")
			securityEvents.record({ event: "first_administrator_made", user: bootstrapped.id });
		const changes = createChanges({
			store,
			reload: {
				accounts: revocations.loadAccounts,
				keys: () => keys.load((kid, error) => log.error({ kid, err: error }, "a signing key cannot be used")),
				revocations: revocations.load,
			},
			maxStalenessSeconds: config.revocationMaxStalenessSeconds,
			log,
		});
		opened.defer(changes.close);
		await changes.start();
		const beat = () => replicaReports.beat(keys.kids());
		// Where the store is away the others find out by themselves.
		opened.defer(() => replicaReports.leave().catch(() => {}));
		await beat();
		const listener = store.listen({ onWake: () => void changes.wake(), log });
		opened.defer(listener.close);
		const housekeeping = openHousekeeping({
			store,
			reachable: changes.reachable,
			log,
			chores: choresOf({ ...accounts, replicaReports, changes, rotation, beat, recordKey, config, log }),
		});
		opened.defer(housekeeping.close);
		const pressure = openPressure({ log });
		opened.defer(pressure.close);
		return {
			...accounts,
			clock,
			config,
			log,
			keys,
			rotation,
			replicaReports,
			changes,
			listener,
			bootstrapped,
			refresh: createRefresh({
				sessions,
				users,
				refreshTokens: createRefreshTokens(deriveKeys(config, "refresh tokens")),
				graceSeconds: config.refreshGraceSeconds,
			}),
			csrf: createCsrf(deriveKeys(config, "csrf")),
			tokens: createTokens({ config, keys, clock, revocations }),
			readiness: createReadiness({ changes, keys }),
			pressure,
			tracing,
			/** Closes everything, also what is left where something cannot be closed. */
			close: (): Promise<void> => opened.disposeAsync(),
		};
	} catch (error) {
		await opened.disposeAsync();
		throw error;
	}
}
