/**
 * How a process learns what others wrote: it asks the store for the version of each topic and reloads what changed.
 * It also knows how old that knowledge is, which decides whether tokens may still be accepted.
 */
import type { Log } from "./log.ts";
import { createHistogram } from "./metrics/histogram.ts";
import type { ChangeTopic } from "./store/schema.ts";
import type { News, Store } from "./store/store.ts";

/** Half of the promised second: on a busy machine a timer and a query may take the other half. */
const pollIntervalMs = 500;
/** Between two polls that notifications ask for: a storm of changes costs each replica fifty questions a second at most. */
const wakeGapMs = 20;
/** A timer that was late by more than this means that the process was frozen and may have missed changes. */
const frozenMs = 2000;
/** Bounds of the histograms of lags, in seconds. */
const lagBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 10, 60];
/** How long a request waits for the first poll after that. */
const holdMs = 1000;

/** A version that no topic has. */
const never = -1;

type Reload = (version: number, anew: boolean) => Promise<void>;

export type Changes = ReturnType<typeof createChanges>;

/** Builds the follower; `start` loads everything once and then keeps polling until `close`. */
export function createChanges({
	store,
	reload,
	maxStalenessSeconds,
	log,
	nowMs = () => performance.now(),
}: {
	store: Pick<Store, "news">;
	/** Loads what a topic stands for, at least as it was at this version; `anew` without building on what it loaded before. */
	reload: Record<ChangeTopic, Reload>;
	/** How long the last knowledge serves while the store cannot be reached; 0 = not at all. */
	maxStalenessSeconds: number;
	log: Log;
	/** A monotonic clock in milliseconds. */
	nowMs?: () => number;
}) {
	/** The version of each topic that was loaded, or `never`; without one it is loaded anew. */
	const known = new Map<ChangeTopic, number>();
	let pollTimer: NodeJS.Timeout | undefined;
	let beatTimer: NodeJS.Timeout | undefined;
	let polling: Promise<void> | undefined;
	let failing = false;
	/** Who answered the last question. */
	let server: string | undefined;
	let lastGoodMs = nowMs();
	let lastBeatMs = nowMs();
	let held: Promise<void> | undefined;
	let lastPollMs = nowMs();
	let wanted = false;
	let closed = false;
	/** The announcement that was applied last, by topic: the version before this one counts on without a time. */
	const announced = new Map<ChangeTopic, number | null>();
	const lags = mapTopics(reload, () => createHistogram(lagBounds));

	/**
	 * Notes how late a change was applied here, as an upper bound: from its announcement, a moment before its commit, until
	 * now; the first part by the store's clock, and what this process took is added. Of several changes between two questions
	 * only the last one is measured. What was there before the start is not.
	 */
	function measure(topic: ChangeTopic, { announcedMs, nowMs: storeMs }: News, startedMs: number): void {
		const isNew = announced.has(topic) && announced.get(topic) !== announcedMs;
		announced.set(topic, announcedMs);
		if (!isNew || announcedMs === null) return;
		const lagMs = Math.max(0, storeMs - announcedMs) + nowMs() - startedMs;
		lags[topic].observe(lagMs / 1000);
	}

	async function read(): Promise<void> {
		const startedMs = nowMs();
		lastPollMs = startedMs;
		const news = await store.news().catch((error: unknown) => {
			known.clear();
			throw error;
		});
		// After a failover that lost the last writes, the new server gives their versions to others: none says what is known.
		if (news.accounts.server !== server) known.clear();
		server = news.accounts.server;
		let failure: unknown;
		for (const [topic, load] of Object.entries(reload) as [ChangeTopic, Reload][]) {
			if (known.get(topic) === news[topic].version) continue;
			const anew = !known.has(topic);
			// Begun anew once: where it fails half way, it goes on from there.
			if (anew) known.set(topic, never);
			try {
				await load(news[topic].version, anew);
				known.set(topic, news[topic].version);
				measure(topic, news[topic], startedMs);
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

	/** Asks once, or shares the question that is under way. Never throws. */
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

	/** Asks anew: the answer to a question that is under way may be older than what the caller wants to hear of. */
	const pollAnew = (): Promise<void> => (polling ? polling.then(poll) : poll());

	/**
	 * Asks soon, because something may have changed. A question that is under way may have been too early and is followed
	 * by another one; however often this is called meanwhile, there is one under way and one to come at most.
	 */
	async function wake(): Promise<void> {
		if (wanted) return;
		wanted = true;
		const gapMs = lastPollMs + wakeGapMs - nowMs();
		if (gapMs > 0) await new Promise((resolve) => setTimeout(resolve, gapMs));
		while (polling) await polling;
		wanted = false;
		if (!closed) await poll();
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
			held = Promise.race([pollAnew(), limit]).finally(() => {
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

		/** Resolves when a question that was asked after the call has ended, well or not; a server polls and is woken. */
		poll: pollAnew,

		wake,

		/** How well the store is followed, for metrics. Milliseconds. */
		stats: () => ({
			/** How old what is known is: the time since the last question that got its answer was asked. */
			ageMs: nowMs() - lastGoodMs,
			/** How late changes of each topic were applied here, in seconds. */
			lags: mapTopics(lags, (lag) => lag.read()),
		}),

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
			closed = true;
			clearTimeout(pollTimer);
			clearInterval(beatTimer);
			await polling;
			clearTimeout(pollTimer);
		},
	};
}

const mapTopics = <From, To>(record: Record<ChangeTopic, From>, to: (value: From) => To): Record<ChangeTopic, To> =>
	Object.fromEntries(Object.entries(record).map(([topic, value]) => [topic, to(value as From)])) as Record<
		ChangeTopic,
		To
	>;
