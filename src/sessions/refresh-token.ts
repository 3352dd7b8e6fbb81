/**
 * Refresh tokens: opaque to clients, and nothing of them is stored. One names its session and a generation under a MAC,
 * so a dump of the store holds nothing from which an accepted one could be built.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * The only layout so far: version (1 byte), session id (16), generation (6, big-endian: more than ten years of refreshes,
 * however many a second), HMAC-SHA-256 (32).
 */
const version = 1;
const generationBytes = 6;
const namedBytes = 17 + generationBytes;
const tokenBytes = namedBytes + 32;

/** What a refresh token says. */
export interface NamedGeneration {
	sessionId: string;
	/** How many refreshes the session had seen when the token was made. */
	generation: number;
}

export type RefreshTokens = ReturnType<typeof createRefreshTokens>;

/**
 * Builds the codec.
 *
 * @param keys 256 bits each; the first one makes tokens, all of them verify.
 */
export function createRefreshTokens(keys: readonly [Buffer, ...Buffer[]]) {
	const mac = (key: Buffer, named: Buffer) => createHmac("sha256", key).update(named).digest();

	return {
		/** The one refresh token of this session and generation: made again, it is the same text. */
		make({ sessionId, generation }: NamedGeneration): string {
			const named = Buffer.alloc(namedBytes);
			named.writeUInt8(version, 0);
			Buffer.from(sessionId, "base64url").copy(named, 1);
			named.writeUIntBE(generation, 17, generationBytes);
			return Buffer.concat([named, mac(keys[0], named)]).toString("base64url");
		},

		/** What the token says, or `undefined` where this service did not make it or its text was altered in any way. */
		read(token: string): NamedGeneration | undefined {
			const bytes = Buffer.from(token, "base64url");
			// Node skips what is not base64url, and spare bits: only the one spelling counts (RFC 4648 section 3.5).
			if (bytes.length !== tokenBytes || bytes.toString("base64url") !== token) return undefined;
			const named = bytes.subarray(0, namedBytes);
			const given = bytes.subarray(namedBytes);
			if (named.readUInt8(0) !== version || !keys.some((key) => timingSafeEqual(mac(key, named), given)))
				return undefined;
			return {
				sessionId: named.subarray(1, 17).toString("base64url"),
				generation: named.readUIntBE(17, generationBytes),
			};
		},
	};
}
