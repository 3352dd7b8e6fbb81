/** One connection, which callers use in turn: two transactions on it would be one. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** So long the connection goes from hand to hand without letting the event loop do anything else. */
const mostMs = 20;

export type Turns = ReturnType<typeof createTurns>;

/** Builds the queue. */
export function createTurns() {
	let queue: Promise<void> = Promise.resolve();
	let leave = () => {};
	let inUse = 0;
	let waiting = 0;
	let loopedAt = performance.now();

	/** Whether a turn comes before the time, by `performance.now()`. */
	function comesBefore(turn: Promise<void>, deadline: number): Promise<boolean> {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		const timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), false);
		void turn.then(() => {
			clearTimeout(timer);
			resolve(true);
		});
		return promise;
	}

	return {
		/**
		 * Waits for its turn; `leave` has to follow, where it came.
		 *
		 * @param deadline how long at most, by `performance.now()`. Without it the answer is always true.
		 */
		async take(deadline?: number): Promise<boolean> {
			const turn = queue;
			const { promise, resolve } = Promise.withResolvers<void>();
			queue = promise;
			const isFree = inUse === 0 && waiting === 0;
			waiting++;
			const came = isFree || deadline === undefined || (await comesBefore(turn, deadline));
			if (came) await turn;
			waiting--;
			if (!came) {
				// Whoever comes after takes this place.
				void turn.then(resolve);
				return false;
			}
			inUse = 1;
			leave = resolve;
			if (!isFree && performance.now() - loopedAt > mostMs) {
				await nextTurn();
				loopedAt = performance.now();
			}
			return true;
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
