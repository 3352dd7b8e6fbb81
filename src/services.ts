/** The composition root: builds every service from the configuration, in order, and knows how to close them. */
import { type Bootstrap, bootstrap, forgetInitialPassword } from "./bootstrap.ts";
import { createChanges } from "./changes.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import { createCredentials } from "./credentials.ts";
import { createKeys } from "./keys/keys.ts";
import type { Log } from "./log.ts";
import { openPasswords } from "./passwords/passwords.ts";
import { createPermissions } from "./permissions.ts";
import { createReadiness } from "./readiness.ts";
import { createRevocations } from "./revocations.ts";
import { deriveKey, openSecret } from "./secret.ts";
import { openStore } from "./store/store.ts";
import { createTokens } from "./tokens.ts";
import { createUsers } from "./users.ts";

export type Services = Awaited<ReturnType<typeof openServices>>;

/** What the CLI and the server both stand on: the store, not yet migrated, and the services over it. No key, no token. */
export async function openAccounts(config: Config, clock: Clock = systemClock) {
	const store = await openStore({
		databaseUrl: config.databaseUrl,
		dataDir: config.dataDir,
		clock,
	});
	const permissions = createPermissions({ store });
	const users = createUsers({
		store,
		clock,
		permissions,
		onPasswordReplaced: (username) => forgetInitialPassword(config, username),
	});
	const passwords = openPasswords({
		cost: config.hashCost,
		threads: config.hashThreads,
		maxWaitSeconds: config.hashMaxWaitSeconds,
		minLength: config.passwordMinLength,
	});
	const credentials = createCredentials({ users, passwords });
	return {
		store,
		permissions,
		users,
		passwords,
		credentials,
		async close(): Promise<void> {
			await passwords.close();
			await store.close();
		},
	};
}

/**
 * Opens everything a server needs: migrates the store, makes the first key and the first account, loads the ring and
 * the revocations, and starts to follow changes.
 *
 * @throws where the store cannot be reached, a key is weak or SECRET does not open it; nothing stays open then.
 */
export async function openServices(config: Config, { log, clock = systemClock }: { log: Log; clock?: Clock }) {
	const accounts = await openAccounts(config, clock);
	try {
		const { store } = accounts;
		await store.migrate();
		const keys = createKeys({
			store,
			clock,
			sealingKey: deriveKey(openSecret(config), "signing keys"),
			algorithm: config.signingAlgorithm,
		});
		// First what is there: a wrong SECRET must stop the start before it adds a key of its own.
		await keys.load((_kid, error) => {
			throw error;
		});
		await keys.ensureActive();
		const bootstrapped: Bootstrap = await bootstrap(config, accounts);
		const revocations = createRevocations({ store });
		const changes = createChanges({
			store,
			reload: {
				accounts: revocations.load,
				keys: () => keys.load((kid, error) => log.error({ kid, err: error }, "a signing key cannot be used")),
			},
			maxStalenessSeconds: config.revocationMaxStalenessSeconds,
			log,
		});
		await changes.start();
		return {
			...accounts,
			config,
			log,
			keys,
			revocations,
			changes,
			bootstrapped,
			tokens: createTokens({ config, keys, clock }),
			readiness: createReadiness({ changes }),
			async close(): Promise<void> {
				await changes.close();
				await accounts.close();
			},
		};
	} catch (error) {
		await accounts.close();
		throw error;
	}
}
