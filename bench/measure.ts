/** What every figure shares: rounds with interleaved sides, medians with quartiles, and the row it ends as. */

/** One line of the table and of the JSON file. */
export interface Row {
	figure: string;
	/** The figure as the table shows it. */
	measured: string;
	/** The bar in words, empty where a figure is only stated. */
	bar: string;
	/** Whether the bar was met; undefined without a bar. */
	met: boolean | undefined;
	/** What stands behind the figure, in absolute numbers. */
	detail: string;
	/** The measured values, round by round, for the JSON file. */
	data: unknown;
}

/** One of the things `npm run bench -- NAME` can measure. */
export interface Figure {
	name: string;
	/** How often, where `--rounds` says nothing. */
	rounds: number;
	/** Measures; `tick` shows progress. */
	run(rounds: number, tick: () => void): Promise<Row[]>;
}

export interface Summary {
	median: number;
	lowerQuartile: number;
	upperQuartile: number;
	values: readonly number[];
}

/** Median and quartiles, interpolated between neighbours. */
export function summarize(values: readonly number[]): Summary {
	return {
		median: quantile(values, 0.5),
		lowerQuartile: quantile(values, 0.25),
		upperQuartile: quantile(values, 0.75),
		values,
	};
}

/** The value below which this share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
	const sorted = [...values].sort((a, b) => a - b);
	const place = (sorted.length - 1) * share;
	const below = sorted[Math.floor(place)] ?? Number.NaN;
	const above = sorted[Math.ceil(place)] ?? Number.NaN;
	return below + (above - below) * (place - Math.floor(place));
}

/** `1.04 (1.03 to 1.06)` */
export const shown = ({ median, lowerQuartile, upperQuartile }: Summary, digits = 2): string =>
	`${median.toFixed(digits)} (${lowerQuartile.toFixed(digits)} to ${upperQuartile.toFixed(digits)})`;

const warmUpRounds = 4;

/** The first rounds do not count: a process that has just started takes seconds until V8 has compiled what is hot. */
export async function repeat<Result>(rounds: number, once: () => Promise<Result>, tick: () => void): Promise<Result[]> {
	const results: Result[] = [];
	for (let round = -warmUpRounds; round < rounds; round++) {
		const result = await once();
		if (round >= 0) results.push(result);
		tick();
	}
	return results;
}

/** Two starts of one program differ by several hundredths: the rounds are spread over so many. */
const starts = 5;

/** Measures in several starts, one after the other; the rounds of all of them count alike. */
export async function overStarts<Result>(
	rounds: number,
	one: (rounds: number) => Promise<Result[]>,
): Promise<Result[]> {
	const results: Result[] = [];
	for (let start = 0; start < starts; start++) results.push(...(await one(Math.ceil(rounds / starts))));
	return results;
}

/**
 * Measures all sides once a round, in an order that turns around each time, so that a drift of the machine hits all of
 * them alike: for sides that cannot take turns of 50 ms (`takeTurns` in load.ts).
 */
export const interleave = <Side extends string, Value>(
	rounds: number,
	sides: Record<Side, () => Promise<Value>>,
	tick: () => void,
): Promise<Record<Side, Value>[]> => {
	const names = Object.keys(sides) as Side[];
	let backwards = false;
	const once = async () => {
		const result = {} as Record<Side, Value>;
		for (const name of backwards ? names.toReversed() : names) result[name] = await sides[name]();
		backwards = !backwards;
		return result;
	};
	return repeat(rounds, once, tick);
};

/** The row of a ratio that has an upper bar. */
export function ratioRow(figure: string, ratios: readonly number[], bar: number, detail: string, data: unknown): Row {
	const summary = summarize(ratios);
	return {
		figure,
		measured: `${shown(summary)} times`,
		bar: `at most ${bar.toFixed(2)} times`,
		met: summary.median <= bar,
		detail,
		data: { ratio: summary, rounds: data },
	};
}
