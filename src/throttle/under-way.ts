/**
 * Tries of this process whose outcome is open. Each is counted, as if it were wrong, until its password turns out to be
 * right: so of many right ones at once some meet a limit that is none. Those wait here until the others have ended.
 */

/** Builds the register; it lives in memory, and holds nothing once all tries have ended. */
export function createUnderWay() {
	const open = new Map<string, Set<Promise<void>>>();

	return {
		/** Enters a try in these rows. What it answers has to be called when the try has ended, whatever became of it. */
		begin(rows: readonly string[]): () => void {
			const { promise, resolve } = Promise.withResolvers<void>();
			for (const row of rows) open.set(row, (open.get(row) ?? new Set()).add(promise));
			return () => {
				for (const row of rows) {
					const tries = open.get(row);
					tries?.delete(promise);
					if (tries?.size === 0) open.delete(row);
				}
				resolve();
			};
		},

		/** The end of all tries of a row that are under way now, or `undefined` where there are none. */
		ending(row: string): Promise<unknown> | undefined {
			const tries = open.get(row);
			return tries && Promise.all(tries);
		},
	};
}
