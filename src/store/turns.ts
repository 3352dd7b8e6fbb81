/** One connection, which callers use in turn: two transactions on it would be one. */

export type Turns = ReturnType<typeof createTurns>;

/** Builds the queue. */
export function createTurns() {
	let queue: Promise<void> = Promise.resolve();
	let leave = () => {};
	let inUse = 0;
	let waiting = 0;
	return {
		/** Waits for its turn. `leave` has to follow. */
		async take(): Promise<void> {
			const turn = queue;
			const { promise, resolve } = Promise.withResolvers<void>();
			queue = promise;
			waiting++;
			await turn;
			waiting--;
			inUse = 1;
			leave = resolve;
		},

		/** Lets the next one in. */
		leave(): void {
			inUse = 0;
			leave();
		},

		/** Resolves when all who have asked until now have left. */
		settled: (): Promise<void> => queue,

		/** Whether somebody has the connection, and how many wait for it. */
		stats: () => ({ inUse, idle: 1 - inUse, waiting }),
	};
}
