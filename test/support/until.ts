/** Waiting for what another process, thread or timer brings about, and no event of this process tells. */
import { setTimeout as sleep } from "node:timers/promises";

/** Asks again and again until it is so, and answers the milliseconds that took; after `seconds` it throws, naming `what`. */
export async function until(
	what: string,
	isSo: () => boolean | Promise<boolean>,
	{ seconds = 10, everyMs = 20 }: { seconds?: number; everyMs?: number } = {},
): Promise<number> {
	const began = performance.now();
	while (!(await isSo())) {
		if (performance.now() - began > seconds * 1000)
			throw new Error(`it did not come to this within ${seconds} s: ${what}`);
		await sleep(everyMs);
	}
	return performance.now() - began;
}

/** The same for the status of a server's answer. */
export const untilStatus = (status: number, ask: () => Promise<Response>): Promise<number> =>
	until(`the answer is ${status}`, async () => (await ask()).status === status, { seconds: 5, everyMs: 25 });
