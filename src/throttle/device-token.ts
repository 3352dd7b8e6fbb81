/**
 * Device tokens: they say that a device has logged in to an account before, and nothing else. One is no substitute for the
 * password; it gives its device tries of its own. Nothing of a token is stored but what its device did wrong.
 */
import { daySeconds } from "../clock.ts";
import { createMacToken } from "../mac-token.ts";
import { randomId } from "../random.ts";

/** How long a token is good after a login; each login from the device starts that time anew. */
export const deviceSeconds = 180 * daySeconds;

/**
 * The only layout so far: version (1 byte), device id (16), account id (16), generation (4, big-endian), end in epoch
 * seconds (6), HMAC-SHA-256 (32).
 */
const version = 1;
const namedBytes = 43;

/** What a device token says. */
export interface NamedDevice {
	/** 128 random bits, the same at every login from the device. */
	readonly id: string;
	readonly userId: string;
	/** How often the account had made its devices unknown when the token was made: a new password does, and a logout everywhere. */
	readonly generation: number;
	/** Epoch seconds, by the store's clock. */
	readonly expiresAt: number;
}

export type DeviceTokens = ReturnType<typeof createDeviceTokens>;

/**
 * Builds the codec.
 *
 * @param getKeys 256 bits each; the first one makes tokens, all of them verify. Asked for at the first use.
 * @param isTooOld whether everything of this time, in epoch seconds, is void: after a restored backup the account's
 * generation is an earlier one, and tokens that it had made void would be good again.
 */
export function createDeviceTokens({
	getKeys,
	isTooOld,
}: {
	getKeys: () => readonly [Buffer, ...Buffer[]];
	isTooOld: (issuedAt: number) => boolean;
}) {
	const macToken = createMacToken({ version, bytes: namedBytes, getKeys });

	return {
		newId: randomId,

		/** The token of a device. */
		make({ id, userId, generation, expiresAt }: NamedDevice): string {
			const named = Buffer.alloc(namedBytes);
			Buffer.from(id, "base64url").copy(named, 1);
			Buffer.from(userId, "base64url").copy(named, 17);
			named.writeUInt32BE(generation, 33);
			named.writeUIntBE(expiresAt, 37, 6);
			return macToken.make(named);
		},

		/** What the token says, or `undefined` where this service did not make it, its text was altered in any way, or it is void. */
		read(token: string): NamedDevice | undefined {
			const named = macToken.read(token);
			if (!named) return undefined;
			const expiresAt = named.readUIntBE(37, 6);
			if (isTooOld(expiresAt - deviceSeconds)) return undefined;
			return {
				id: named.subarray(1, 17).toString("base64url"),
				userId: named.subarray(17, 33).toString("base64url"),
				generation: named.readUInt32BE(33),
				expiresAt,
			};
		},
	};
}
