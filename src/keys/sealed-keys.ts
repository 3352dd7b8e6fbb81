/** The private keys of the ring as the store has them, and whether SECRET is the one that they were sealed under. */
import type { Store } from "../store/store.ts";
import { openPrivateKey, type SealedKey, type SealingKeys, wrongSecret } from "./key-pair.ts";
import { seal } from "./seal.ts";

/** Builds the service over the table `signing_keys`; where the secret comes from, `createRotation` is told. */
export function createSealedKeys({
	store,
	makeSecret,
	getSealingKeys,
}: {
	store: Store;
	makeSecret: () => void;
	getSealingKeys: () => SealingKeys;
}) {
	const rows = () =>
		store.db
			.selectFrom("signing_keys")
			.select(["kid", "algorithm", "state", "private_key_sealed"])
			.where("state", "!=", "gone")
			.execute();

	const opens = (row: SealedKey, sealingKeys: SealingKeys): boolean => {
		try {
			return openPrivateKey(row, sealingKeys) !== undefined;
		} catch {
			return false;
		}
	};

	return {
		/**
		 * The rows, of which SECRET opens at least one. Where there is none yet any SECRET will do, and one is made where nobody
		 * has set it: only then, or it would lie beside keys of another one and open nothing.
		 *
		 * @throws ConfigError where SECRET opens none of them.
		 */
		async read() {
			const sealed = await rows();
			if (sealed.length === 0) makeSecret();
			const sealingKeys = getSealingKeys();
			if (sealed.length > 0 && !sealed.some((row) => opens(row, sealingKeys))) throw wrongSecret();
			return sealed;
		},

		/** A private key as it may be stored. */
		seal: (kid: string, privatePem: string): string => seal(getSealingKeys()[0], kid, privatePem),

		/** Seals under SECRET what SECRET_PREVIOUS opened, so that the next start does without it. */
		async sealAgain(): Promise<void> {
			for (const { kid, private_key_sealed } of await rows()) {
				const sealingKeys = getSealingKeys();
				const { privatePem, isCurrent } = openPrivateKey({ kid, private_key_sealed }, sealingKeys);
				if (isCurrent) continue;
				await store.db
					.updateTable("signing_keys")
					.set({ private_key_sealed: seal(sealingKeys[0], kid, privatePem) })
					.where("kid", "=", kid)
					// Not where another process has sealed it, or erased it, meanwhile.
					.where("private_key_sealed", "=", private_key_sealed)
					.execute();
			}
		},
	};
}
