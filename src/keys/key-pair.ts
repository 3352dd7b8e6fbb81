/** One key: made, or opened from its row. What a ring is made of. */
import { createPublicKey, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import type { JWK } from "jose";
import { ConfigError } from "../config/config.ts";
import { unsealWithAny } from "./seal.ts";
import { assertStrong, type SigningAlgorithm } from "./strength.ts";

/** A key that verifies. */
export interface VerificationKey {
	/** RFC 7638 thumbprint. */
	kid: string;
	/** The one algorithm this key is used with (RFC 8725 section 3.1). */
	algorithm: SigningAlgorithm;
	publicPem: string;
	/** The public key as the key set shows it (RFC 7517). */
	jwk: JWK;
}

/** A key that can sign. */
export interface SigningKey extends VerificationKey {
	privatePem: string;
}

/** 256 bits each: the first one encrypts private keys, all of them open them. */
export type SealingKeys = readonly [Buffer, ...Buffer[]];

const generate = promisify(generateKeyPair);

/** A new key pair: P-256, Ed25519, or RSA of 3072 bits (128-bit strength, ASVS 11.2.3). */
export async function generateKey(algorithm: SigningAlgorithm): Promise<{ kid: string; privatePem: string }> {
	const { privateKey, publicKey } =
		algorithm === "ES256"
			? await generate("ec", { namedCurve: "P-256" })
			: algorithm === "EdDSA"
				? await generate("ed25519")
				: await generate("rsa", { modulusLength: 3072 });
	// Imported on need: only the first start and a rotation make a key.
	const { calculateJwkThumbprint } = await import("jose");
	const kid = await calculateJwkThumbprint(publicKey.export({ format: "jwk" }) as JWK);
	// `key revoke` takes it as a word: one that looks like an option would be refused in an emergency.
	if (kid.startsWith("-")) return generateKey(algorithm);
	return { kid, privatePem: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** A key as its row has it. */
export interface SealedKey {
	kid: string;
	algorithm: string;
	private_key_sealed: string;
}

/**
 * Opens a stored key.
 *
 * @throws ConfigError where none of the sealing keys opens it; Error where it is weak or does not fit its algorithm.
 */
export function openKey(
	{ kid, algorithm, private_key_sealed: sealed }: SealedKey,
	sealingKeys: SealingKeys,
): SigningKey {
	const { privatePem } = openPrivateKey({ kid, private_key_sealed: sealed }, sealingKeys);
	const publicKey = createPublicKey(privatePem);
	const bound = algorithm as SigningAlgorithm;
	assertStrong(publicKey, bound);
	return {
		kid,
		algorithm: bound,
		privatePem,
		publicPem: publicKey.export({ type: "spki", format: "pem" }) as string,
		jwk: { ...publicKey.export({ format: "jwk" }), kid, alg: bound, use: "sig" } as JWK,
	};
}

/**
 * The private key of a row, and whether the first of the sealing keys opened it.
 *
 * @throws ConfigError where none of them does.
 */
export function openPrivateKey(
	{ kid, private_key_sealed: sealed }: Omit<SealedKey, "algorithm">,
	sealingKeys: SealingKeys,
): { privatePem: string; isCurrent: boolean } {
	try {
		const { plain, index } = unsealWithAny(sealingKeys, kid, sealed);
		return { privatePem: plain, isCurrent: index === 0 };
	} catch (cause) {
		throw wrongSecret(cause);
	}
}

/** What to tell whoever starts a process with another secret than the store's. */
export const wrongSecret = (cause?: unknown): ConfigError =>
	new ConfigError(
		[
			"SECRET does not open the signing keys in the store; start with the secret they were made with (or restore DATA_DIR/secret). Where SECRET was changed on purpose, SECRET_PREVIOUS takes the one before it",
		],
		{ cause },
	);
