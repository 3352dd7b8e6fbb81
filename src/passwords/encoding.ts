/**
 * What happens to a password before bcrypt sees it, and how a stored hash is read. bcrypt ends at the first NUL, looks at
 * 72 bytes and knows no Unicode, so each of these has to be settled before.
 */
import { createHmac } from "node:crypto";
import { errors } from "../errors.ts";

/**
 * `bcrypt` is bcrypt over the password itself, which every other system can check. `bcrypt-hmac-sha256` is bcrypt over
 * the base64 of its HMAC-SHA-256, for passwords past bcrypt's 72 bytes.
 */
export type PasswordScheme = "bcrypt" | "bcrypt-hmac-sha256";

const maxBytes = 1024;
const bcryptBytes = 72;

/**
 * Not a secret: it keeps these digests apart from any other HMAC-SHA-256 of the same password, so that a leaked list of
 * plain SHA-256 digests cannot be tried against our hashes. A change of this text makes every long password wrong.
 */
const domain = "gatehouse password longer than 72 bytes, version 1";

/** Any dearer stored hash would let one row of the store hold a thread for seconds. */
const maxCost = 14;

/**
 * Exactly what bcrypt writes. The last character of the salt carries two bits and that of the digest four: other ends are
 * not canonical, and the library answers them (as any malformed string) without doing the work.
 */
const bcryptHash = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]$/;

/**
 * The OpaqueString profile (RFC 8265 section 4.2): non-ASCII spaces become U+0020, then NFC. No trimming, no case folding.
 * Throws INVALID_PASSWORD for what is empty, over 1,024 bytes of UTF-8, or holds a control character (bcrypt takes
 * `pre\0pre` for `pre`) or an unpaired surrogate (it becomes U+FFFD, like every other one).
 */
export function normalizePassword(password: string): string {
	// Before NFC, whose time grows with the square of a run of combining marks. It shortens a text to a third at most.
	if (Buffer.byteLength(password) > 3 * maxBytes) throw new errors.INVALID_PASSWORD();
	const normalized = password.replace(/\p{Zs}/gu, " ").normalize("NFC");
	if (
		normalized === "" ||
		!normalized.isWellFormed() ||
		/\p{Cc}/u.test(normalized) ||
		Buffer.byteLength(normalized) > maxBytes
	)
		throw new errors.INVALID_PASSWORD();
	return normalized;
}

/** The text that bcrypt gets for a normalised password, and the scheme that its length asks for. */
export function encodePassword(normalized: string): {
	input: string;
	scheme: PasswordScheme;
} {
	if (Buffer.byteLength(normalized) <= bcryptBytes) return { input: normalized, scheme: "bcrypt" };
	const input = createHmac("sha256", domain).update(normalized).digest("base64");
	return { input, scheme: "bcrypt-hmac-sha256" };
}

/** The cost of a stored hash; undefined where it is no bcrypt hash that can be compared, or its cost is outside 4 to 14. */
export function readCost(hash: string): number | undefined {
	const cost = Number(bcryptHash.exec(hash)?.[1]);
	return cost >= 4 && cost <= maxCost ? cost : undefined;
}
