/** The first administrator of an empty store. The start never fails for want of one. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Config, ConfigError } from "./config/config.ts";
import type { CredentialService } from "./credentials.ts";
import { errors } from "./errors.ts";
import { randomSecret } from "./random.ts";
import { readOrCreate } from "./secret-file.ts";
import type { Users } from "./users/users.ts";

/** The account that is made where none is configured. */
const defaultUsername = "admin";

/** What happened: nothing to do, an account was made, or one is missing and the settings do not say which. */
export type Bootstrap =
	| { outcome: "present" | "missing" }
	| {
			outcome: "made";
			id: string;
			username: string;
			password?: string;
			passwordFile?: string;
	  };

/** Where the random password of the default account lies until it is changed. */
export const initialPasswordFile = ({ dataDir }: Config): string => join(dataDir, "admin-password");

/** Removes that file, once the password in it is good for nothing. */
export function forgetInitialPassword(config: Config, username: string): void {
	// With PostgreSQL the folder, if there is one, belongs to another store.
	if (config.databaseUrl === undefined && username === defaultUsername)
		rmSync(initialPasswordFile(config), { force: true });
}

/**
 * Makes the first administrator where the store is empty: the configured one, or `admin` with a random password where
 * that is allowed (SQLite outside production). Several processes that start together make one account.
 *
 * @throws ConfigError where the configured account breaks the rules for usernames and passwords.
 */
export async function bootstrap(
	config: Config,
	{ users, credentials }: { users: Users; credentials: CredentialService },
): Promise<Bootstrap> {
	if (!(await users.isEmpty())) return { outcome: "present" };
	const { bootstrapUsername, bootstrapPassword } = config;
	if (bootstrapUsername !== undefined && bootstrapPassword !== undefined) {
		const id = await register(bootstrapUsername, bootstrapPassword, "BOOTSTRAP_PASSWORD");
		return id === undefined ? { outcome: "present" } : { outcome: "made", id, username: bootstrapUsername };
	}
	if (config.environment === "production" || config.databaseUrl !== undefined) return { outcome: "missing" };
	// The file comes first: a crash between the two leaves a password without an account, never the reverse.
	const passwordFile = initialPasswordFile(config);
	const password = readOrCreate(passwordFile, randomSecret);
	const id = await register(defaultUsername, password, `The password in ${passwordFile}`);
	return id === undefined
		? { outcome: "present" }
		: { outcome: "made", id, username: defaultUsername, password, passwordFile };

	/** The account's id, or nothing where another process made the account first. */
	async function register(username: string, password: string, source: string): Promise<string | undefined> {
		try {
			return await credentials.register(username, password, ["admin"]);
		} catch (error) {
			if (error instanceof errors.USERNAME_TAKEN) return undefined;
			if (error instanceof errors.INVALID_USERNAME) throw refused("BOOTSTRAP_USERNAME", error);
			if (error instanceof errors.INVALID_PASSWORD || error instanceof errors.WEAK_PASSWORD)
				throw refused(source, error);
			throw error;
		}
	}
}

/** The person who starts the service must know which setting to change. */
const refused = (setting: string, cause: Error): ConfigError =>
	new ConfigError([`${setting} is refused: ${cause.message}`], { cause });
