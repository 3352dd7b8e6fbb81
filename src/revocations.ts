/**
 * Whose tokens are refused although they have not expired: a short list in memory, so that no request costs a query.
 * It holds disabled and deleted accounts for as long as a token of theirs can live.
 */
import type { Store } from "./store/store.ts";
import { longestTokenSeconds } from "./tokens.ts";

/** By how much the clock of a replica that issues tokens may be ahead of the store's. */
const clockMarginSeconds = 300;

export type Revocations = ReturnType<typeof createRevocations>;

/** Builds the list over the store. Call `load` before use and whenever the topic `accounts` changes. */
export function createRevocations({ store }: { store: Store }) {
	let accounts: ReadonlySet<string> = new Set();

	return {
		/** Reads the list from the store. */
		async load(): Promise<void> {
			const since = (await store.now()) - longestTokenSeconds - clockMarginSeconds;
			const rows = await store.db
				.selectFrom("users")
				.select("id")
				.where("disabled_at", ">=", since)
				.union(store.db.selectFrom("deleted_users").select("id").where("deleted_at", ">=", since))
				.execute();
			accounts = new Set(rows.map(({ id }) => id));
		},

		/** Whether tokens of this account are refused. */
		hasAccount: (userId: string): boolean => accounts.has(userId),
	};
}
