/** What a process does in the background, over and over, in small steps. A step that fails is logged and tried again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "./log.ts";

/** One thing to keep in order. */
export interface Chore {
	name: string;
	everySeconds: number;
	/** Does it; what takes several steps ends before the next one when the signal says so. */
	run(ending: AbortSignal): Promise<void>;
}

/** Between two steps of a purge: others use the store too. */
const pauseMs = 20;

/** Starts the chores. */
export function openHousekeeping({ chores, log }: { chores: readonly Chore[]; log: Log }) {
	const ending = new AbortController();
	const running = chores.map(async ({ name, everySeconds, run }) => {
		while (await pause(everySeconds * 1000, ending.signal)) {
			try {
				await run(ending.signal);
			} catch (error) {
				log.error({ err: error, chore: name }, "housekeeping failed; it is tried again");
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

/** Repeats a step that deletes up to so many rows, with pauses, until there is nothing left to delete or the process ends. */
export const inSteps = (step: () => Promise<number>) => async (ending: AbortSignal) => {
	while ((await step()) > 0 && (await pause(pauseMs, ending)));
};

/** False when the process ends. */
const pause = (milliseconds: number, ending: AbortSignal): Promise<boolean> =>
	sleep(milliseconds, true, { signal: ending, ref: false }).catch(() => false);
