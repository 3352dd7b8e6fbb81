/**
 * Tries, counted in the store, where all replicas share them and a restart forgets none. A row has two times and no
 * number: each try moves `forgotten_at` on by the time in which one is forgotten, so how far it lies ahead says how many
 * tries are remembered. A row whose tries are all forgotten says nothing, and goes.
 */
import { type RawBuilder, sql } from "kysely";
import { deleteDue } from "../store/purge.ts";
import type { LoginTriesTable } from "../store/schema.ts";
import type { Store } from "../store/store.ts";

/** The longest delay between two tries, in seconds. */
const longestDelay = 900;
/**
 * A time that lies further ahead than any try can bring it, and so many seconds more, is from before the clock was set
 * back: it counts for nothing, or nobody could log in until that time came again.
 */
export const clockMargin = 60;

/** How many tries a row lets through. */
export interface Limit {
	/** After so many remembered tries the next one has to wait. */
	readonly free: number;
	/** The first wait, in seconds; each further try doubles it, up to 15 minutes. */
	readonly firstDelay: number;
	/** With so many remembered tries no other is let through until one of them is forgotten. */
	readonly most: number;
	/** In so many seconds one try is forgotten. */
	readonly forgetSeconds: number;
}

/** One row and its limit. */
export interface Bucket {
	readonly key: string;
	readonly limit: Limit;
}

export type Row = Omit<LoginTriesTable, "bucket">;
export type Tries = ReturnType<typeof createTries>;

/** Builds the counters over the table `login_tries`. */
export function createTries({ store }: { store: Store }) {
	return {
		/** These rows as they are, those that are there, and the store's time. */
		async look(keys: readonly string[]): Promise<{ now: number; rows: ReadonlyMap<string, Row> }> {
			const found = await store.db
				.selectFrom(store.db.selectNoFrom(store.nowExpression().as("now")).as("clock"))
				.leftJoin("login_tries", (join) => join.on("bucket", "in", keys))
				.select(["now", "bucket", "forgotten_at", "retry_at", "marks"])
				.execute();
			const rows = new Map<string, Row>();
			for (const { bucket, forgotten_at, retry_at, marks } of found)
				if (bucket !== null)
					rows.set(bucket, { forgotten_at: forgotten_at ?? 0, retry_at: retry_at ?? 0, marks: marks ?? 0 });
			return { now: found[0]?.now ?? 0, rows };
		},

		/**
		 * Counts one try in each of these rows, in one statement: of any number that come at the same time only as many are
		 * let through as the limits allow. A row at its limit stays as it is and is missing in the answer.
		 *
		 * @param buckets always in the same order, so that two callers cannot wait for each other.
		 * @returns the keys in which it was counted, each with the seconds that the next try has to wait.
		 */
		async take(buckets: readonly Bucket[]): Promise<Map<string, number>> {
			const now = store.nowExpression();
			const of = (part: (limit: Limit) => number) => perBucket(buckets, part);
			const each = of(({ forgetSeconds }) => forgetSeconds);
			const furthest = of(({ most, forgetSeconds }) => most * forgetSeconds + clockMargin);
			const isAhead = sql<boolean>`login_tries.forgotten_at > ${now} and login_tries.forgotten_at <= ${now} + ${furthest}`;
			const next = sql<number>`case when ${isAhead} then login_tries.forgotten_at else ${now} end + ${each}`;
			// A cast, because SQLite takes a number from outside for a fraction.
			const remembered = sql<number>`cast((${next} - ${now} + ${each} - 1) / ${each} as integer)`;
			const free = of((limit) => limit.free);
			const retry = sql<number>`case when ${remembered} < ${free} then 0
				when ${remembered} >= ${free} + ${of(doublings)} then ${now} + ${sql.lit(longestDelay)}
				else ${now} + (${of(({ firstDelay }) => firstDelay)} << (${remembered} - ${free})) end`;
			const counted = await store.db
				.insertInto("login_tries")
				.values(
					buckets.map(({ key, limit }) => ({
						bucket: key,
						forgotten_at: sql<number>`${now} + ${sql.lit(limit.forgetSeconds)}`,
						retry_at: limit.free > 1 ? 0 : sql<number>`${now} + ${sql.lit(limit.firstDelay)}`,
						marks: 0,
					})),
				)
				.onConflict((conflict) =>
					conflict
						.column("bucket")
						.doUpdateSet({ forgotten_at: next, retry_at: retry })
						.where(
							sql<boolean>`(login_tries.retry_at <= ${now} or login_tries.retry_at > ${now} + ${sql.lit(longestDelay + clockMargin)})`,
						)
						.where(
							sql<boolean>`(login_tries.forgotten_at <= ${now} + ${of(({ most, forgetSeconds }) => (most - 1) * forgetSeconds)}
								or login_tries.forgotten_at > ${now} + ${furthest})`,
						),
				)
				.returning(["bucket", sql<number>`retry_at - ${now}`.as("wait")])
				.execute();
			return new Map(counted.map(({ bucket, wait }) => [bucket, wait]));
		},

		/**
		 * Takes a try back that was no guess: it is forgotten at once. With it goes a delay that the tries which are left would
		 * not have caused.
		 *
		 * @param lifted the row whose delay ends in any case; of the others a delay may stand that somebody else has caused.
		 */
		async giveBack(buckets: readonly Bucket[], lifted?: string): Promise<void> {
			const now = store.nowExpression();
			const of = (part: (limit: Limit) => number) => perBucket(buckets, part);
			const isFree = sql<boolean>`login_tries.forgotten_at <= ${now} + ${of(({ free, forgetSeconds }) => free * forgetSeconds)}`;
			const isLifted = lifted === undefined ? isFree : sql<boolean>`(login_tries.bucket = ${lifted} or ${isFree})`;
			// As an insert, because that locks the rows in the order in which they stand here.
			await store.db
				.insertInto("login_tries")
				.values(buckets.map(({ key }) => ({ bucket: key, forgotten_at: 0, retry_at: 0, marks: 0 })))
				.onConflict((conflict) =>
					conflict.column("bucket").doUpdateSet({
						forgotten_at: sql<number>`login_tries.forgotten_at - ${of(({ forgetSeconds }) => forgetSeconds)}`,
						retry_at: sql<number>`case when ${isLifted} then 0 else login_tries.retry_at end`,
					}),
				)
				.execute();
		},

		/** Deletes up to 500 rows that say nothing any more; answers how many. */
		purge(): Promise<number> {
			return deleteDue(store, { table: "login_tries", key: "bucket", at: "forgotten_at" });
		},
	};
}

/** In how many seconds a row lets a try through; 0 where it does now. */
export function waitSeconds(row: Row | undefined, { most, forgetSeconds }: Limit, now: number): number {
	if (!row) return 0;
	const delay = row.retry_at - now;
	const ahead = row.forgotten_at - now;
	return Math.max(
		0,
		delay > longestDelay + clockMargin ? 0 : delay,
		ahead > most * forgetSeconds + clockMargin ? 0 : ahead - (most - 1) * forgetSeconds,
	);
}

/** After so many doublings of the first delay it is the longest one. */
const doublings = ({ firstDelay }: Limit): number => Math.ceil(Math.log2(longestDelay / firstDelay));

/** A number of the limit of the very row that the statement is at. */
function perBucket(buckets: readonly Bucket[], part: (limit: Limit) => number): RawBuilder<number> {
	const cases = buckets.map(({ key, limit }) => sql`when ${key} then ${sql.lit(part(limit))}`);
	return sql<number>`case login_tries.bucket ${sql.join(cases, sql` `)} end`;
}
