/** Random values that nobody can guess, from the system's generator. */
import { randomBytes } from "node:crypto";

const idBytes = 16;
/** Bytes for 64 ids, fetched at once: a question to the generator takes longer than the rest of an id, and each token has one. */
let supply = Buffer.alloc(0);

/** A new id of 128 random bits in 22 characters (base64url), used for `sub`, `sid` and `jti`. Never reused. */
export function randomId(): string {
	if (supply.length === 0) supply = randomBytes(64 * idBytes);
	const id = supply.toString("base64url", 0, idBytes);
	supply = supply.subarray(idBytes);
	// A command takes it as a word: one that looks like an option would be refused.
	return id.startsWith("-") ? randomId() : id;
}

/** Whether a text is what `randomId` makes. */
export const isId = (text: string): boolean => /^[\w-]{22}$/.test(text);

/** A new secret of 256 random bits in 43 characters (base64url). */
export const randomSecret = (): string => randomBytes(32).toString("base64url");
