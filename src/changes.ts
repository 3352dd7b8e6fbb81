/**
 * How a process learns what others wrote: it asks the store for the version of each topic and reloads what changed.
 * It also knows how old that knowledge is, which decides whether tokens may still be accepted.
 */
import type { Log } from "./log.ts";
import type { ChangeTopic } from "./store/schema.ts";
import type { Store } from "./store/store.ts";

/** Half of the promised second: on a busy machine a timer and a query may take the other half. */
const pollIntervalMs = 500;
/** A timer that was late by more than this means that the process was frozen and may have missed changes. */
const frozenMs = 2000;
/** How long a request waits for the first poll after that. */
const holdMs = 1000;

export type Changes = ReturnType<typeof createChanges>;

/** Builds the follower; `start` loads everything once and then keeps polling until `close`. */
export function createChanges({
	store,
	reload,
	maxStalenessSeconds,
	log,
	nowMs = () => performance.now(),
}: {
	store: Pick<Store, "versions">;
	/** Loads what a topic stands for. */
	reload: Record<ChangeTopic, () => Promise<void>>;
	/** How long the last knowledge serves while the store cannot be reached; 0 = not at all. */
	maxStalenessSeconds: number;
	log: Log;
	/** A monotonic clock in milliseconds. */
	nowMs?: () => number;
}) {
	const known = new Map<ChangeTopic, number>();
	let pollTimer: NodeJS.Timeout | undefined;
	let beatTimer: NodeJS.Timeout | undefined;
	let polling: Promise<void> | undefined;
	let failing = false;
	let lastGoodMs = nowMs();
	let lastBeatMs = nowMs();
	let held: Promise<void> | undefined;

	async function read(): Promise<void> {
		const startedMs = nowMs();
		const versions = await store.versions();
		let failure: unknown;
		for (const [topic, load] of Object.entries(reload) as [ChangeTopic, () => Promise<void>][]) {
			if (known.get(topic) === versions[topic]) continue;
			try {
				await load();
				known.set(topic, versions[topic]);
			} catch (error) {
				// One topic that cannot be loaded must not keep another, such as disabled accounts, from being known.
				failure ??= error;
			}
		}
		if (failure) throw failure;
		lastGoodMs = startedMs;
		if (failing) log.info("the store's changes are followed again");
		failing = false;
	}

	/** Asks once; calls that overlap share one question. Never throws. */
	function poll(): Promise<void> {
		polling ??= read()
			.catch((error: unknown) => {
				if (!failing) log.error({ err: error }, "cannot follow the store's changes");
				failing = true;
			})
			.finally(() => {
				polling = undefined;
			});
		return polling;
	}

	function schedule(): void {
		pollTimer = setTimeout(() => void poll().finally(schedule), pollIntervalMs);
	}

	function beat(): void {
		const now = nowMs();
		if (now - lastBeatMs > frozenMs) {
			log.warn({ frozenMs: Math.round(now - lastBeatMs) }, "this process was frozen; catching up");
			let timer: NodeJS.Timeout;
			const limit = new Promise<void>((resolve) => {
				timer = setTimeout(resolve, holdMs);
			});
			// A question that was under way may have been answered before the freeze: a new one comes after it.
			const caughtUp = polling ? polling.then(poll) : poll();
			held = Promise.race([caughtUp, limit]).finally(() => {
				clearTimeout(timer);
				held = undefined;
			});
		}
		lastBeatMs = now;
	}

	const staleMs = (now = nowMs()) => {
		const ageMs = now - lastGoodMs;
		return failing || ageMs > frozenMs + pollIntervalMs ? ageMs : 0;
	};

	return {
		/** Loads everything, then follows. Throws where the first load fails. */
		async start(): Promise<void> {
			await read();
			lastBeatMs = nowMs();
			beatTimer = setInterval(beat, frozenMs / 4);
			schedule();
		},

		/** Asks now, for a process that has just written. */
		poll,

		/** The clock of `hold` and `fresh`, for a caller that asks both of the same moment. */
		nowMs,

		/** A promise to wait for before a token is accepted, after this process was frozen; otherwise nothing. */
		hold(now = nowMs()): Promise<void> | undefined {
			if (now - lastBeatMs > frozenMs) beat();
			return held;
		},

		/** Whether the last poll was good. */
		reachable: (): boolean => staleMs() === 0,

		/** Whether tokens may be accepted on what is known. */
		fresh: (now = nowMs()): boolean => staleMs(now) <= maxStalenessSeconds * 1000,

		async close(): Promise<void> {
			clearTimeout(pollTimer);
			clearInterval(beatTimer);
			await polling;
			clearTimeout(pollTimer);
		},
	};
}
