/**
 * What is done in the background, over and over, in small steps. What concerns the store is done by one replica at a time:
 * whoever finds a chore due moves its time on, which of several one can do, and does it. A step that fails is logged and tried
 * again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "./log.ts";
import type { Store } from "./store/store.ts";

/** One thing to keep in order. */
export interface Chore {
	name: string;
	everySeconds: number;
	/** `store`: once in that time, whichever replica does it. `process`: by each process for itself. */
	of: "store" | "process";
	/** Does it; what takes several steps ends before the next one when the signal says so. */
	run(ending: AbortSignal): Promise<void>;
}

/** Between two steps of a purge: others use the store too. */
const pauseMs = 20;

/**
 * Starts the chores.
 *
 * @param reachable while it answers false no chore of the store is tried: the follower of changes has said that the store is away.
 */
export function openHousekeeping({
	store,
	reachable,
	chores,
	log,
}: {
	store: Pick<Store, "db" | "nowExpression">;
	reachable: () => boolean;
	chores: readonly Chore[];
	log: Log;
}) {
	const ending = new AbortController();

	/** Whether a chore is due, and this process the one that does it. Its owner may die: the next time comes anyway. */
	async function claim({ name, everySeconds }: Chore): Promise<boolean> {
		const rows = await store.db
			.insertInto("chores")
			.values((row) => ({ name, next_at: row(store.nowExpression(), "+", everySeconds) }))
			.onConflict((conflict) =>
				conflict
					.column("name")
					.doUpdateSet((row) => ({ next_at: row.ref("excluded.next_at") }))
					.where((row) => {
						const now = store.nowExpression();
						// Further away than ever: a clock was ahead when that was written, and all chores would rest for as long.
						return row.or([row("chores.next_at", "<=", now), row("chores.next_at", ">", row(now, "+", everySeconds))]);
					}),
			)
			.returning("name")
			.execute();
		return rows.length > 0;
	}

	async function attend(chore: Chore): Promise<void> {
		if (chore.of === "process") return chore.run(ending.signal);
		if (!reachable() || !(await claim(chore))) return;
		// Over long before another replica finds it due again: what is left waits for that.
		const over = AbortSignal.timeout((chore.everySeconds * 1000) / 2);
		await chore.run(AbortSignal.any([ending.signal, over]));
	}

	const running = chores.map(async (chore) => {
		while (await pause(chore.everySeconds * 1000, ending.signal)) {
			try {
				await attend(chore);
			} catch (error) {
				log.error({ err: error, chore: chore.name }, "housekeeping failed; it is tried again");
			}
		}
	});

	return {
		/** Ends them after the step that is under way. */
		async close(): Promise<void> {
			ending.abort();
			await Promise.all(running);
		},
	};
}

/** Repeats a step that answers how many rows it did, with pauses, until none is left or the time is over. */
export const inSteps = (step: () => Promise<number>) => async (ending: AbortSignal) => {
	while ((await step()) > 0 && (await pause(pauseMs, ending)));
};

/** False when the signal came. */
const pause = (milliseconds: number, ending: AbortSignal): Promise<boolean> =>
	sleep(milliseconds, true, { signal: ending, ref: false }).catch(() => false);
