/**
 * Tokens that this service makes and reads itself: opaque to clients, and nothing of them is stored, because what one
 * names stands under a MAC. Who uses them has the layout of what is named.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

const macBytes = 32;

/**
 * Builds the codec of one kind of token: what it names, then HMAC-SHA-256 of that, in base64url.
 *
 * @param version the first byte of what is named, so that a later layout can be told apart.
 * @param bytes how many bytes are named, that one included.
 * @param getKeys 256 bits each, for this kind of token alone; the first one makes tokens, all of them verify.
 */
export function createMacToken({
	version,
	bytes,
	getKeys,
}: {
	version: number;
	bytes: number;
	getKeys: () => readonly [Buffer, ...Buffer[]];
}) {
	const mac = (key: Buffer, named: Buffer) => createHmac("sha256", key).update(named).digest();

	return {
		/** The token that names this; the version is written into its first byte. */
		make(named: Buffer): string {
			named.writeUInt8(version, 0);
			return Buffer.concat([named, mac(getKeys()[0], named)]).toString("base64url");
		},

		/** What the token names, or `undefined` where this service did not make it or its text was altered in any way. */
		read(token: string): Buffer | undefined {
			const all = Buffer.from(token, "base64url");
			// Node skips what is not base64url, and spare bits: only the one spelling counts (RFC 4648 section 3.5).
			if (all.length !== bytes + macBytes || all.toString("base64url") !== token) return undefined;
			const named = all.subarray(0, bytes);
			const given = all.subarray(bytes);
			if (named.readUInt8(0) !== version || !getKeys().some((key) => timingSafeEqual(mac(key, named), given)))
				return undefined;
			return named;
		},
	};
}
