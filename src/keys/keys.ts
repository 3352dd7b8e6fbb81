/**
 * The key ring: every key that verifies, and the one that signs. It lives in the store, encrypted, and in memory,
 * from where each request is served. Rotation will add states; the ring already holds several keys.
 */
import { createHash, createPublicKey, generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import type { JWK } from "jose";
import type { Clock } from "../clock.ts";
import { ConfigError } from "../config/config.ts";
import type { Store } from "../store/store.ts";
import { isUniqueViolation } from "../store/store.ts";
import { seal, unseal } from "./seal.ts";
import { assertStrong, type SigningAlgorithm } from "./strength.ts";

/** A key that verifies. PEM strings, because @fastify/jwt keeps one verifier per string. */
export interface VerificationKey {
	/** RFC 7638 thumbprint. */
	kid: string;
	/** The one algorithm this key is used with (RFC 8725 section 3.1). */
	algorithm: SigningAlgorithm;
	publicPem: string;
	/** The public key as the key set shows it (RFC 7517). */
	jwk: JWK;
}

/** The key that signs. */
export interface SigningKey extends VerificationKey {
	privatePem: string;
}

/** The key set as it is sent: RFC 7517 JSON and its ETag. */
export interface KeySet {
	body: string;
	etag: string;
}

export type Keys = ReturnType<typeof createKeys>;

const generate = promisify(generateKeyPair);

/**
 * Builds the ring over the store. Call `load` before use and whenever the topic `keys` changes.
 *
 * @param sealingKey 256 bits; private keys are encrypted under it.
 */
export function createKeys({
	store,
	clock,
	sealingKey,
	algorithm,
}: {
	store: Store;
	clock: Clock;
	sealingKey: Buffer;
	algorithm: SigningAlgorithm;
}) {
	let ring = new Map<string, VerificationKey>();
	let signing: SigningKey | undefined;
	let keySet: KeySet = describe([]);
	const lossListeners: (() => void)[] = [];

	return {
		/** Makes the first key of an empty store, or a new one where the algorithm was changed; it signs at once. */
		async ensureActive(): Promise<void> {
			const active = await store.db
				.selectFrom("signing_keys")
				.select("algorithm")
				.where("state", "=", "active")
				.executeTakeFirst();
			if (active?.algorithm === algorithm) return;
			const key = await generateKey(algorithm);
			try {
				await store.db.transaction().execute(async (transaction) => {
					await store.announce(transaction, "keys");
					await transaction
						.updateTable("signing_keys")
						.set({ state: "retiring" })
						.where("state", "=", "active")
						.where("algorithm", "!=", algorithm)
						.execute();
					await transaction
						.insertInto("signing_keys")
						.values({
							kid: key.kid,
							algorithm,
							state: "active",
							private_key_sealed: seal(sealingKey, key.kid, key.privatePem),
							created_at: clock.now(),
						})
						.execute();
				});
			} catch (error) {
				// Another replica made the key first: the store allows one active key, and that one will do.
				if (!isUniqueViolation(error)) throw error;
			}
		},

		/**
		 * Reads the ring from the store. A key that is weak, or that SECRET does not open, is left out and told to `onBad`:
		 * at the start that ends the process, later the other keys go on.
		 */
		async load(onBad: (kid: string, error: unknown) => void): Promise<void> {
			const rows = await store.db
				.selectFrom("signing_keys")
				.selectAll()
				.orderBy("created_at", "desc")
				.orderBy("kid")
				.execute();
			const next = new Map<string, VerificationKey>();
			let nextSigning: SigningKey | undefined;
			for (const row of rows) {
				try {
					const key = open(row.kid, row.algorithm as SigningAlgorithm, row.private_key_sealed);
					const { privatePem: _, ...verification } = key;
					next.set(key.kid, verification);
					if (row.state === "active") nextSigning = key;
				} catch (error) {
					onBad(row.kid, error);
				}
			}
			const lost = [...ring.keys()].some((kid) => !next.has(kid));
			ring = next;
			signing = nextSigning ?? (signing && next.has(signing.kid) ? signing : undefined);
			keySet = describe([...next.values()]);
			if (lost) for (const listener of lossListeners) listener();
		},

		/** The key that signs now. */
		signing(): SigningKey {
			if (!signing) throw new Error("The key ring has no active key");
			return signing;
		},

		/** The key with this id, where the ring has it. */
		find: (kid: string): VerificationKey | undefined => ring.get(kid),

		/** The public keys (RFC 7517 section 5). */
		keySet: (): KeySet => keySet,

		/** Calls back after a key has left the ring, whose tokens must no longer be accepted. */
		onLoss(listener: () => void): void {
			lossListeners.push(listener);
		},
	};

	function open(kid: string, alg: SigningAlgorithm, sealed: string): SigningKey {
		let privatePem: string;
		try {
			privatePem = unseal(sealingKey, kid, sealed);
		} catch (cause) {
			throw new ConfigError(
				[
					"SECRET does not open the signing keys in the store; start with the secret they were made with (or restore DATA_DIR/secret)",
				],
				{ cause },
			);
		}
		const publicKey = createPublicKey(privatePem);
		assertStrong(publicKey, alg);
		return {
			kid,
			algorithm: alg,
			privatePem,
			publicPem: publicKey.export({ type: "spki", format: "pem" }) as string,
			jwk: {
				...publicKey.export({ format: "jwk" }),
				kid,
				alg,
				use: "sig",
			} as JWK,
		};
	}
}

/** A new key pair: P-256, Ed25519, or RSA of 3072 bits (128-bit strength, ASVS 11.2.3). */
async function generateKey(algorithm: SigningAlgorithm) {
	const { privateKey, publicKey } =
		algorithm === "ES256"
			? await generate("ec", { namedCurve: "P-256" })
			: algorithm === "EdDSA"
				? await generate("ed25519")
				: await generate("rsa", { modulusLength: 3072 });
	// Imported on need: only the first start and a rotation make a key.
	const { calculateJwkThumbprint } = await import("jose");
	const kid = await calculateJwkThumbprint(publicKey.export({ format: "jwk" }) as JWK);
	return { kid, privatePem: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** The key set document with its strong ETag (RFC 9110 section 8.8.3). */
function describe(ring: readonly VerificationKey[]): KeySet {
	const body = JSON.stringify({ keys: ring.map(({ jwk }) => jwk) });
	const digest = createHash("sha256").update(body).digest("base64url");
	return { body, etag: `"${digest.slice(0, 22)}"` };
}
