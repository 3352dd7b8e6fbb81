/**
 * Records security events: each is a line of the log at once, and a row of the store a moment later. The rows are written
 * off the path of the request, many at a time, from a bounded buffer: a request neither waits for them nor fails with
 * them. What the buffer cannot hold is counted and said.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { errors } from "../errors.ts";
import type { Log } from "../log.ts";
import { randomId } from "../random.ts";
import { type SecurityEvent, type SecurityEventName, type SecurityOutcome, securityEvents } from "./events.ts";
import type { createStoredEvents, StoredEvent } from "./stored.ts";

/** How long a row waits for others. A process that is killed loses the rows of this time; their lines are in the log. */
const gatherMs = 200;
/** After a failed attempt. */
const retryMs = 1000;
/** Rows of one statement: with SQLite it holds the event loop up for about a millisecond. */
const batch = 100;
/** Rows that wait while the store is away, about 5 MB. */
const mostWaiting = 10_000;
/**
 * Rows a minute for each kind of refusal, and for each kind of success that one account's requests have. A flood of wrong
 * passwords, or of refreshes and revoked tokens, would fill the table: the log has every one of them, the table these, and
 * then one row that says how many there were more.
 */
const mostAMinute = 60;
/** Letters kept of an address: a trusted proxy can pass any text on as one. */
const longestAddress = 64;

/** Who asked, for events that a request has caused; Fastify's request is one. */
export interface Origin {
	readonly id: string;
	readonly ip: string;
}

export type SecurityEventRecorder = ReturnType<typeof openSecurityEvents>;

/**
 * Opens the recorder.
 *
 * @param log none for a command, whose output is its answer: its events are rows only.
 */
export function openSecurityEvents({
	stored,
	clock,
	log,
}: {
	stored: ReturnType<typeof createStoredEvents>;
	clock: Clock;
	log?: Log | undefined;
}) {
	// Ids in the order of time, as far as one process knows it.
	const processId = randomId();
	let made = 0;
	let waiting: StoredEvent[] = [];
	let dropped = 0;
	/** Those that the log has told of already. */
	let droppedBefore = 0;
	let droppedInAll = 0;
	/** How often each event was recorded. */
	const recorded = Object.fromEntries(Object.keys(securityEvents).map((name) => [name, 0])) as Record<
		SecurityEventName,
		number
	>;
	let failing = false;
	let timer: NodeJS.Timeout | undefined;
	let writing: Promise<void> | undefined;
	/** What was counted in this minute, by kind and, of successes, by account. */
	let minute = 0;
	const bounded = new Map<string, { name: SecurityEventName; user: string | null; count: number }>();

	function record(event: SecurityEvent, origin?: Origin, more?: Readonly<Record<string, unknown>>): void {
		const { outcome, message } = securityEvents[event.event];
		recorded[event.event]++;
		// Whatever the type says: where the client has reset its connection there is no address any more.
		const address = origin?.ip?.slice(0, longestAddress);
		const line = { reqId: origin?.id, outcome, ...event, address, ...more };
		if (outcome === "refused") log?.warn(line, message);
		else log?.info(line, message);
		// As many rows as there are active people, four an hour each: the session's own row says when it was last refreshed.
		if (event.event === "refresh") return;
		const now = clock.now();
		// A theft is never among the rest. It needs no bound: it ends the session, and the next one costs a login.
		const isBounded = event.event !== "refresh_token_reuse" && (outcome === "refused" || origin !== undefined);
		if (isBounded && !isWithinTheMinute(event as FlatEvent, outcome, now)) return;
		const { event: name, user = null, session = null, ...details } = event as FlatEvent;
		keep({
			...{ id: nextId(), at: now, event: name, outcome, user_id: user, session_id: session },
			...{ address: address ?? null, request_id: origin?.id ?? null, details: JSON.stringify(details) },
		});
	}

	/** Counts an event in this minute, and says whether it gets a row of its own. */
	function isWithinTheMinute({ event: name, user }: FlatEvent, outcome: SecurityOutcome, now: number): boolean {
		settle(now);
		// Refusals by kind alone: who has guessed a name chooses whose they are.
		const owner = outcome === "refused" ? null : (user ?? null);
		const key = `${name} ${owner}`;
		const current = bounded.get(key) ?? { name, user: owner, count: 0 };
		bounded.set(key, current);
		current.count += 1;
		return current.count <= mostAMinute;
	}

	/** Ends the minute if it is over, with one row for all events of a kind that got none. */
	function settle(now: number): void {
		const current = Math.floor(now / 60);
		if (current === minute) return;
		keepRest();
		minute = current;
	}

	function keepRest(): void {
		for (const { name, user, count } of bounded.values()) {
			if (count <= mostAMinute) continue;
			keep({
				...{ id: nextId(), at: minute * 60 + 59, event: name, outcome: securityEvents[name].outcome },
				...{ user_id: user, session_id: null, address: null, request_id: null },
				details: JSON.stringify({ more: count - mostAMinute }),
			});
		}
		bounded.clear();
	}

	const nextId = (): string => {
		made += 1;
		return `${processId}-${made.toString(36).padStart(8, "0")}`;
	};

	function keep(row: StoredEvent): void {
		if (waiting.length >= mostWaiting) {
			if (dropped === 0) log?.error({ waiting: mostWaiting }, "security events are not stored any more: too many wait");
			drop(1);
			return;
		}
		waiting.push(row);
		timer ??= setTimeout(() => void write(), gatherMs);
	}

	function drop(rows: number): void {
		dropped += rows;
		droppedInAll += rows;
	}

	/** Writes what waits; calls that overlap share one attempt. Never throws. */
	function write(): Promise<void> {
		clearTimeout(timer);
		writing ??= writeAll().finally(() => {
			writing = undefined;
			timer = waiting.length > 0 ? setTimeout(() => void write(), failing ? retryMs : gatherMs) : undefined;
		});
		return writing;
	}

	async function writeAll(): Promise<void> {
		try {
			while (waiting.length > 0) {
				const rows = waiting.slice(0, batch);
				await insert(rows);
				waiting = waiting.slice(rows.length);
				await nextTurn();
			}
			if (failing) log?.info("security events are stored again");
			failing = false;
			if (dropped > 0) log?.error({ dropped }, "security events were not stored");
			droppedBefore += dropped;
			dropped = 0;
		} catch (error) {
			if (!failing) log?.error({ err: error }, "security events cannot be stored; they wait");
			failing = true;
		}
	}

	/** Rows that the store does not take for another reason than an outage it will never take: others must not wait for them. */
	async function insert(rows: readonly StoredEvent[]): Promise<void> {
		try {
			await stored.insert(rows);
		} catch (error) {
			if (error instanceof errors.STORE_UNAVAILABLE) throw error;
			drop(rows.length);
			log?.error({ err: error }, "the store refuses security events");
		}
	}

	return {
		/**
		 * Records one event. Never throws and never waits.
		 *
		 * @param origin the request, where one has caused it.
		 * @param more what else its line in the log says; not stored.
		 */
		record,

		/** Closes the minute that is over. */
		settle: () => settle(clock.now()),

		/** How many rows wait, how many were lost so far, and how often each event was recorded. */
		stats: () => ({ waiting: waiting.length, dropped: droppedInAll, recorded: { ...recorded } }),

		/** Writes what waits now. */
		flush: write,

		/** Writes the rest, for as long as an attempt or two take; the log says how much is left, the answer how much was lost in all. */
		async close(): Promise<number> {
			keepRest();
			await writing;
			await write();
			if (waiting.length > 0) {
				await sleep(retryMs);
				await write();
			}
			clearTimeout(timer);
			const lost = waiting.length + dropped;
			if (lost > 0) log?.error({ dropped: lost }, "security events were not stored: the process ends");
			return droppedBefore + lost;
		},
	};
}

/** Any event, with the facts that have a column of their own. */
type FlatEvent = { readonly event: SecurityEventName; user?: string; session?: string };
