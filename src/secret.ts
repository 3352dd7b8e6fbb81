/** The root secret, and the keys derived from it. Each purpose has a key of its own (RFC 5869). */
import { hkdfSync } from "node:crypto";
import { join } from "node:path";
import { type Config, ConfigError } from "./config/config.ts";
import { randomSecret } from "./random.ts";
import { readOrCreate } from "./secret-file.ts";

/**
 * The root secret: SECRET where it is set, else the one in DATA_DIR/secret, made at the first start with mode 0600.
 *
 * @throws ConfigError where that file was emptied or cut, or cannot be read.
 */
export function openSecret({ secret, dataDir }: Config): string {
	if (secret !== undefined) return secret;
	const file = join(dataDir, "secret");
	const found = readSecret(file);
	if (found.length < 32)
		throw new ConfigError([
			`${file} does not hold a secret; restore it from a backup, or the stored signing keys are lost`,
		]);
	return found;
}

function readSecret(file: string): string {
	try {
		return readOrCreate(file, randomSecret);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		throw new ConfigError([`${file} cannot be read (${code}); make it readable for this user, or restore it`]);
	}
}

/** A 256-bit key for one purpose: HKDF-SHA-256 over the root secret with the purpose as its info. */
export const deriveKey = (secret: string, purpose: string): Buffer =>
	Buffer.from(hkdfSync("sha256", secret, "", `gatehouse ${purpose}`, 32));

/** The keys for one purpose, of SECRET and of SECRET_PREVIOUS: the first one protects what is new, all of them open. */
export function deriveKeys(config: Config, purpose: string): [Buffer, ...Buffer[]] {
	const previous = config.secretPrevious === undefined ? [] : [deriveKey(config.secretPrevious, purpose)];
	return [deriveKey(openSecret(config), purpose), ...previous];
}
