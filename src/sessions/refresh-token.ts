/**
 * Refresh tokens: opaque to clients, and nothing of them is stored. One names its session and a generation under a MAC,
 * so a dump of the store holds nothing from which an accepted one could be built.
 */
import { createMacToken } from "../mac-token.ts";

/**
 * The only layout so far: version (1 byte), session id (16), generation (6, big-endian: more than ten years of refreshes,
 * however many a second), HMAC-SHA-256 (32).
 */
const version = 1;
const generationBytes = 6;
const namedBytes = 17 + generationBytes;

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
	const macToken = createMacToken({ version, bytes: namedBytes, getKeys: () => keys });

	return {
		/** The one refresh token of this session and generation: made again, it is the same text. */
		make({ sessionId, generation }: NamedGeneration): string {
			const named = Buffer.alloc(namedBytes);
			Buffer.from(sessionId, "base64url").copy(named, 1);
			named.writeUIntBE(generation, 17, generationBytes);
			return macToken.make(named);
		},

		/** What the token says, or `undefined` where this service did not make it or its text was altered in any way. */
		read(token: string): NamedGeneration | undefined {
			const named = macToken.read(token);
			if (!named) return undefined;
			return {
				sessionId: named.subarray(1, 17).toString("base64url"),
				generation: named.readUIntBE(17, generationBytes),
			};
		},
	};
}
