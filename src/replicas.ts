/**
 * Which servers run on this store, as each of them reports every few seconds, and which keys each has loaded. All times
 * are the store's. A command is no replica: it serves nobody.
 */
import { hostname } from "node:os";
import { type Kysely, sql } from "kysely";
import { randomId } from "./random.ts";
import type { Schema } from "./store/schema.ts";
import type { Store } from "./store/store.ts";

/** How often a server reports itself. */
export const beatSeconds = 5;
/** Who has reported within so many seconds is live: two reports may be lost. */
export const liveSeconds = 15;
/** The row of a dead one is kept a little longer, for a person who looks. */
const keptSeconds = 4 * liveSeconds;

/** What is known of all replicas at one moment. */
export interface Replicas {
	live: readonly { id: string; kids: readonly string[] }[];
	/**
	 * Whether this process has reported itself for so long without a gap that every other live one has had the time to do
	 * so, too. After an outage of the store all reports are old: then nobody may be taken for dead.
	 */
	knowsOthers: boolean;
}

export type ReplicaReports = ReturnType<typeof createReplicaReports>;

/** Builds the reports over the table `replicas`. */
export function createReplicaReports({ store }: { store: Store }) {
	/** The host's name is for people: in a cluster it is the pod's. */
	const id = `${hostname()}-${process.pid}-${randomId().slice(0, 4)}`;

	return {
		/** This process. */
		id,

		/** Reports that this process lives, and which keys it has loaded. */
		async beat(kids: readonly string[]): Promise<void> {
			const now = store.nowExpression();
			await store.db
				.insertInto("replicas")
				.values({ id, seen_at: now, since_at: now, kids: kids.join(" ") })
				.onConflict((conflict) =>
					conflict.column("id").doUpdateSet(({ ref }) => ({
						seen_at: ref("excluded.seen_at"),
						// A report from the future is as good as none: the clock was ahead, and what came in between is not known.
						since_at: sql<number>`case when abs(${ref("replicas.seen_at")} - ${ref("excluded.seen_at")}) >= ${sql.lit(liveSeconds)}
							then ${ref("excluded.seen_at")} else ${ref("replicas.since_at")} end`,
						kids: ref("excluded.kids"),
					})),
				)
				.execute();
		},

		/** Takes this process off the list, when it ends: nobody has to wait until it counts as dead. */
		async leave(): Promise<void> {
			await store.db.deleteFrom("replicas").where("id", "=", id).execute();
		},

		/** Who is live at `now`, a time of the store. */
		async read(db: Kysely<Schema>, now: number): Promise<Replicas> {
			const rows = await db
				.selectFrom("replicas")
				.selectAll()
				.where("seen_at", ">", now - liveSeconds)
				// From further ahead, where the clock has been put right, it says nothing about who lives.
				.where("seen_at", "<", now + liveSeconds)
				.orderBy("id")
				.execute();
			const own = rows.find((row) => row.id === id);
			return {
				live: rows.map((row) => ({ id: row.id, kids: row.kids.split(" ") })),
				knowsOthers: own !== undefined && own.since_at <= now - liveSeconds,
			};
		},

		/** Deletes the rows of those that have been dead for a while. */
		async purge(): Promise<void> {
			const age = sql<number>`abs(${store.nowExpression()} - seen_at)`;
			await store.db.deleteFrom("replicas").where(age, ">=", keptSeconds).execute();
		},
	};
}
