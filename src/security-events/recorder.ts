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
import { type SecurityEvent, type SecurityEventName, securityEvents } from "./events.ts";
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
 * Rows a minute for each kind of refusal. A flood of wrong passwords would fill the table: the log has every one of them,
 * the table these, and then one row that says how many there were more.
 */
const refusalsAMinute = 60;
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
	let droppedInAll = 0;
	/** How often each event was recorded. */
	const recorded = Object.fromEntries(Object.keys(securityEvents).map((name) => [name, 0])) as Record<
		SecurityEventName,
		number
	>;
	let failing = false;
	let timer: NodeJS.Timeout | undefined;
	let writing: Promise<void> | undefined;
	/** The refusals of this minute, by kind. */
	const refusals = new Map<SecurityEventName, { minute: number; count: number }>();

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
		if (outcome === "refused" && !isWithinTheMinute(event.event, now)) return;
		const { event: name, user = null, session = null, ...details } = event as FlatEvent;
		keep({
			...{ id: nextId(), at: now, event: name, outcome, user_id: user, session_id: session },
			...{ address: address ?? null, request_id: origin?.id ?? null, details: JSON.stringify(details) },
		});
	}

	/** Counts a refusal, and says whether it gets a row of its own. */
	function isWithinTheMinute(name: SecurityEventName, now: number): boolean {
		const minute = Math.floor(now / 60);
		let current = refusals.get(name);
		if (current?.minute !== minute) {
			keepRest(name);
			current = { minute, count: 0 };
			refusals.set(name, current);
		}
		current.count += 1;
		return current.count <= refusalsAMinute;
	}

	/** One row for all refusals of a past minute that got none. */
	function keepRest(name: SecurityEventName): void {
		const past = refusals.get(name);
		refusals.delete(name);
		if (past === undefined || past.count <= refusalsAMinute) return;
		keep({
			...{ id: nextId(), at: past.minute * 60 + 59, event: name, outcome: "refused" },
			...{ user_id: null, session_id: null, address: null, request_id: null },
			details: JSON.stringify({ more: past.count - refusalsAMinute }),
		});
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

		/** Closes the minutes that are over. */
		settle(): void {
			const minute = Math.floor(clock.now() / 60);
			for (const [name, past] of refusals) if (past.minute < minute) keepRest(name);
		},

		/** How many rows wait, how many were lost so far, and how often each event was recorded. */
		stats: () => ({ waiting: waiting.length, dropped: droppedInAll, recorded: { ...recorded } }),

		/** Writes what waits now. */
		flush: write,

		/** Writes the rest, for as long as an attempt or two take; says how much had to be left. */
		async close(): Promise<void> {
			for (const name of refusals.keys()) keepRest(name);
			await writing;
			await write();
			if (waiting.length > 0) {
				await sleep(retryMs);
				await write();
			}
			clearTimeout(timer);
			const lost = waiting.length + dropped;
			if (lost > 0) log?.error({ dropped: lost }, "security events were not stored: the process ends");
		},
	};
}

/** Any event, with the facts that have a column of their own. */
type FlatEvent = { event: SecurityEventName; user?: string; session?: string };
