/** What a process does in the background, over and over, in small steps. A step that fails is logged and tried again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "./log.ts";

/** One thing to keep in order. */
export interface Chore {
	name: string;
	everySeconds: number;
	run(): Promise<void>;
}

/** Between two steps of a purge: others use the store too. */
const pauseMs = 20;

/** Starts the chores. */
export function openHousekeeping({ chores, log }: { chores: readonly Chore[]; log: Log }) {
	const ending = new AbortController();
	/** False when the process ends. */
	const pause = (milliseconds: number) =>
		sleep(milliseconds, true, { signal: ending.signal, ref: false }).catch(() => false);
	const running = chores.map(async ({ name, everySeconds, run }) => {
		while (await pause(everySeconds * 1000)) {
			try {
				await run();
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

/** Repeats a step that deletes up to so many rows, with pauses, until there is nothing left to delete. */
export async function inSteps(step: () => Promise<number>): Promise<void> {
	while ((await step()) > 0) await sleep(pauseMs);
}
