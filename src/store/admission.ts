/**
 * The first question to a server that has no connection left, or is still starting. When everything restarts at once that
 * passes by itself, so a start waits for its place instead of ending.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTooSoon } from "./failures.ts";

const patienceMs = 60_000;
/** Those who wait do not all come back in the same moment. */
const pauseMs = () => 250 + Math.random() * 500;

/** Asks again while the server says that it takes nobody yet, for a minute. Other failures end it at once. */
export async function untilAdmitted<T>(ask: () => Promise<T>): Promise<T> {
	const deadline = performance.now() + patienceMs;
	for (;;) {
		try {
			return await ask();
		} catch (error) {
			if (!isTooSoon(error) || performance.now() >= deadline) throw error;
			await sleep(pauseMs());
		}
	}
}
