/**
 * The key ring in memory, from where each request is served: every key that verifies, and the one that signs. What
 * changes it is in rotation.ts; here it is only read from the store.
 */
import { createHash } from "node:crypto";
import { errors } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { openKey, type SealingKeys, type SigningKey, type VerificationKey } from "./key-pair.ts";

/** The key set as it is sent: RFC 7517 JSON and its ETag. */
export interface KeySet {
	body: string;
	etag: string;
}

export type Keys = ReturnType<typeof createKeys>;

/** Builds the ring over the store. Call `load` before use and whenever the topic `keys` changes. */
export function createKeys({ store, getSealingKeys }: { store: Store; getSealingKeys: () => SealingKeys }) {
	let ring = new Map<string, SigningKey>();
	let signing: SigningKey | undefined;
	let keySet: KeySet = describe([]);
	let states = { published: 0, active: 0, retiring: 0 };
	const lossListeners: (() => void)[] = [];

	return {
		/**
		 * Reads the ring from the store: the keys that are published, active or retiring. A key that is weak, or that SECRET
		 * does not open, is left out and told to `onBad`: at the start that ends the process, later the other keys go on.
		 */
		async load(onBad: (kid: string, error: unknown) => void): Promise<void> {
			const rows = await store.following
				.selectFrom("signing_keys")
				.select(["kid", "algorithm", "state", "private_key_sealed"])
				.where("state", "!=", "gone")
				.orderBy("created_at", "desc")
				.orderBy("kid")
				.execute();
			const next = new Map<string, SigningKey>();
			let nextSigning: SigningKey | undefined;
			const nextStates = { published: 0, active: 0, retiring: 0 };
			for (const row of rows) {
				try {
					// One that was opened before stays open: another replica may have sealed it under a newer SECRET.
					const known = ring.get(row.kid);
					const key = known?.algorithm === row.algorithm ? known : openKey(row, getSealingKeys());
					next.set(key.kid, key);
					if (row.state === "active") nextSigning = key;
					nextStates[row.state as keyof typeof states]++;
				} catch (error) {
					onBad(row.kid, error);
				}
			}
			const lost = [...ring.keys()].some((kid) => !next.has(kid));
			ring = next;
			// Not the one before where the new one cannot be opened: its tokens could outlive it, and it may have been revoked.
			signing = nextSigning;
			states = nextStates;
			keySet = describe([...next.values()]);
			if (lost) for (const listener of lossListeners) listener();
		},

		/**
		 * The key that signs now.
		 *
		 * @throws NO_SIGNING_KEY
		 */
		signing(): SigningKey {
			if (!signing) throw new errors.NO_SIGNING_KEY();
			return signing;
		},

		/** Whether there is an active key that this process can use. */
		canSign: (): boolean => signing !== undefined,

		/** The key with this id, where the ring has it. */
		find: (kid: string): VerificationKey | undefined => ring.get(kid),

		/** The ids of the keys in the ring. */
		kids: (): string[] => [...ring.keys()],

		/** How many keys of the ring are in each state. */
		stats: () => ({ ...states }),

		/** The public keys (RFC 7517 section 5). */
		keySet: (): KeySet => keySet,

		/** Calls back after a key has left the ring, whose tokens must no longer be accepted. */
		onLoss(listener: () => void): void {
			lossListeners.push(listener);
		},
	};
}

/** The key set document with its strong ETag (RFC 9110 section 8.8.3). */
function describe(ring: readonly VerificationKey[]): KeySet {
	const body = JSON.stringify({ keys: ring.map(({ jwk }) => jwk) });
	const digest = createHash("sha256").update(body).digest("base64url");
	return { body, etag: `"${digest.slice(0, 22)}"` };
}
