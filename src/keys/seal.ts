/** Private keys at rest: AES-256-GCM (NIST SP 800-38D), bound to the key's own id. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Encrypts a text; the answer is `iv.tag.ciphertext` in base64url. `label` must be the same when it is opened. */
export function seal(key: Buffer, label: string, plain: string): string {
	const iv = randomBytes(12);
	const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(label));
	const sealed = Buffer.concat([cipher.update(plain, "utf8"), cipher.final()]);
	return [iv, cipher.getAuthTag(), sealed].map((part) => part.toString("base64url")).join(".");
}

/** Decrypts what `seal` made. Throws where the key, the label or any bit is another. */
export function unseal(key: Buffer, label: string, text: string): string {
	const [iv, tag, sealed] = text.split(".").map((part) => Buffer.from(part, "base64url")) as [Buffer, Buffer, Buffer];
	const decipher = createDecipheriv("aes-256-gcm", key, iv, {
		authTagLength: 16,
	})
		.setAAD(Buffer.from(label))
		.setAuthTag(tag);
	return decipher.update(sealed, undefined, "utf8") + decipher.final("utf8");
}

/** Decrypts with the first of several keys that fits, and says which. Throws where none does. */
export function unsealWithAny(keys: readonly Buffer[], label: string, text: string): { plain: string; index: number } {
	let failure: unknown;
	for (const [index, key] of keys.entries()) {
		try {
			return { plain: unseal(key, label, text), index };
		} catch (error) {
			failure ??= error;
		}
	}
	throw failure;
}
