/** How long things take, as Prometheus wants to know it: how many stayed within each of a few bounds. Plain numbers. */

export type Histogram = ReturnType<typeof createHistogram>;

/** What a histogram has seen so far. */
export interface Distribution {
	/** For each upper bound in seconds, how many observations were at most that long; those of the bounds below included. */
	readonly buckets: readonly (readonly [bound: number, count: number])[];
	readonly sum: number;
	readonly count: number;
}

/** Builds a histogram over upper bounds in seconds, in ascending order. */
export function createHistogram(bounds: readonly number[]) {
	/** One for each bound and one for what is longer than all of them; here each observation is in one place only. */
	const counts = new Array<number>(bounds.length + 1).fill(0);
	let sum = 0;
	let count = 0;
	return {
		/** Notes one duration in seconds. Costs a few comparisons: it may stand on the way of every statement. */
		observe(seconds: number): void {
			let place = 0;
			while (place < bounds.length && seconds > (bounds[place] as number)) place++;
			(counts[place] as number)++;
			sum += seconds;
			count++;
		},

		read(): Distribution {
			let below = 0;
			const buckets = bounds.map((bound, place) => {
				below += counts[place] as number;
				return [bound, below] as const;
			});
			return { buckets, sum, count };
		},
	};
}
