/** Which keys may sign or verify at all. A weak key in the store stops the start. */
import type { KeyObject } from "node:crypto";

/** Signature algorithms of this service (RFC 7518 section 3.1, RFC 8037). Never a symmetric one. */
export type SigningAlgorithm = "ES256" | "RS256" | "EdDSA";

/**
 * Throws where a key does not fit its algorithm or is weak: another curve, RSA under 2048 bits or with a small
 * exponent (RFC 7518 section 3.3), or an RSA modulus of the broken Infineon generator (CVE-2017-15361, "ROCA").
 */
export function assertStrong(key: KeyObject, algorithm: SigningAlgorithm): void {
	const reason = weakness(key, algorithm);
	if (reason) throw new Error(`A signing key for ${algorithm} is refused: ${reason}`);
}

function weakness(key: KeyObject, algorithm: SigningAlgorithm): string | undefined {
	const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key;
	if (algorithm === "EdDSA") return type === "ed25519" ? undefined : "it is not an Ed25519 key";
	if (algorithm === "ES256") return details.namedCurve === "prime256v1" ? undefined : "it is not on the curve P-256";
	if (algorithm !== "RS256") return "the algorithm is unknown";
	if (type !== "rsa") return "it is not an RSA key";
	if ((details.modulusLength ?? 0) < 2048) return "its modulus is under 2048 bits";
	if ((details.publicExponent ?? 0n) < 65537n) return "its public exponent is under 65537";
	const { n = "" } = key.export({ format: "jwk" });
	const modulus = BigInt(`0x${Buffer.from(n, "base64url").toString("hex")}`);
	return hasRocaFingerprint(modulus) ? "its modulus comes from a generator that is broken (CVE-2017-15361)" : undefined;
}

/** The small primes of the published fingerprint test. */
const primes = [
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
	127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/** A modulus of that generator is a power of 65537 modulo every small prime; any other one practically never is. */
function hasRocaFingerprint(modulus: bigint): boolean {
	return primes.every((prime) => {
		const rest = Number(modulus % BigInt(prime));
		let power = 1;
		do {
			if (power === rest) return true;
			power = (power * 65537) % prime;
		} while (power !== 1);
		return false;
	});
}
