/** The root secret, and the keys derived from it. Each purpose has a key of its own (RFC 5869). */
import { hkdfSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Config, ConfigError } from "./config/config.ts";
import { randomSecret } from "./random.ts";
import { readOrCreate } from "./secret-file.ts";

/**
 * The root secret: SECRET where it is set, else the one in DATA_DIR/secret.
 *
 * @throws ConfigError where there is neither, or that file was emptied or cut, or cannot be read.
 */
export const getSecret = (config: Config): string => readSecret(config, (file) => readFileSync(file, "utf8").trim());

/**
 * The same, but where there is neither the file is made, with mode 0600. For a store that has no signing key yet: beside
 * keys of a SECRET that is kept elsewhere it would open nothing.
 */
export const openSecret = (config: Config): string => readSecret(config, (file) => readOrCreate(file, randomSecret));

function readSecret({ secret, dataDir }: Config, read: (file: string) => string): string {
	if (secret !== undefined) return secret;
	const file = join(dataDir, "secret");
	let found: string;
	try {
		found = read(file);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		throw new ConfigError([
			code === "ENOENT"
				? `SECRET is not set, and ${file} is not there; set the secret that the store's keys were made with, or restore the file`
				: `${file} cannot be read (${code}); make it readable for this user, or restore it`,
		]);
	}
	if (found.length < 32)
		throw new ConfigError([
			`${file} does not hold a secret; restore it from a backup, or the stored signing keys are lost`,
		]);
	return found;
}

/** A 256-bit key for one purpose: HKDF-SHA-256 over the root secret with the purpose as its info. */
export const deriveKey = (secret: string, purpose: string): Buffer =>
	Buffer.from(hkdfSync("sha256", secret, "", `gatehouse ${purpose}`, 32));

/** The keys for one purpose, of SECRET and of SECRET_PREVIOUS: the first one protects what is new, all of them open. */
export function deriveKeys(config: Config, purpose: string): [Buffer, ...Buffer[]] {
	const previous = config.secretPrevious === undefined ? [] : [deriveKey(config.secretPrevious, purpose)];
	return [deriveKey(getSecret(config), purpose), ...previous];
}
