/**
 * Whether this process has more to do than it can. Then it refuses work before it queues: first what starts much of it,
 * logins and refreshes, then the rest. Probes, the key set and the check of a token are never refused: to refuse those
 * costs as much as to answer them.
 *
 * Two measures, ten times a second: how long one turn of the event loop takes, which is what whoever comes now waits, and
 * how much of the memory is used. Only what holds three times in a row counts: one long garbage collection does not, nor
 * does a process that was stopped for a while. A turn can take ten seconds where thousands of connections always have
 * something to be read: so every 256th request looks, too, how long the turn has taken until now.
 */
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Log } from "./log.ts";

/** When a route is refused: among the `first`, `never`, or with the rest. */
export type Shed = "first" | "never" | undefined;

/** 0: nothing is refused. 1: what goes first. 2: the rest as well. */
export type PressureLevel = 0 | 1 | 2;

/** One look at the process. */
export interface Load {
	/** How long a turn of the event loop takes. */
	turnMs: number;
	/** How much of the memory that there is for this process is used, 0 to 1. */
	memory: number;
}

const sampleMs = 100;
/** So many samples in a row raise the level. */
const samplesToRise = 3;
const requestsToLook = 256;
/**
 * Between two collections while memory alone keeps the level up: the first pause, and the longest. Each is twice the one
 * before, as a collection that did not help stops the process for nothing, with 100 MB in use for a quarter of a second.
 */
const collectMs = { first: 5000, most: 60_000 };
/** So long it has to be calm before nothing is refused: otherwise the level would fall because of what it does, and rise again. */
const calmMs = 3000;
/**
 * So long a level that is no longer right is kept where it is not calm either. Then the one below is tried: without that
 * a process that has a little to do all the time would refuse logins for ever. Level 1 is kept for long, because the try
 * lets a flood in for half a second.
 */
const keepMs: Record<PressureLevel, number> = { 0: 0, 1: 60_000, 2: 3000 };

/** From where on a level is right, and what is calm. */
const limits: Record<"calm" | "collected" | 1 | 2, Load> = {
	calm: { turnMs: 50, memory: 0.8 },
	// Calm, once garbage was collected: what is left is in use, and stays.
	collected: { turnMs: 50, memory: 0.85 },
	1: { turnMs: 200, memory: 0.88 },
	2: { turnMs: 500, memory: 0.94 },
};

export type Pressure = ReturnType<typeof openPressure>;

/** Opens the watch over this process; it runs until `close`. `look` and `collect` stand for the process in tests. */
export function openPressure({
	log,
	look = lookAtProcess,
	collect = collectGarbage,
}: {
	log: Log;
	look?: () => Promise<Load>;
	collect?: () => void;
}) {
	let level: PressureLevel = 0;
	let last: Load = { turnMs: 0, memory: 0 };
	const recent: PressureLevel[] = [];
	let calmSince: number | undefined;
	/** When the level was right last. */
	let rightMs = 0;
	let timer: NodeJS.Timeout | undefined;
	let closed = false;
	let requests = 0;
	/** When garbage may be collected again; undefined before it was, and again when the level is 0. */
	let collectAgainMs: number | undefined;
	let collectPauseMs = collectMs.first;
	let lastSampleMs = performance.now();
	const shed = { first: 0, rest: 0, connections: 0 };

	/** Takes one sample into account. `nowMs` is monotonic. */
	function note(load: Load, nowMs: number): void {
		last = load;
		recent.push(reached(load, limits[2]) ? 2 : reached(load, limits[1]) ? 1 : 0);
		if (recent.length > samplesToRise) recent.shift();
		const sustained = recent.length < samplesToRise ? 0 : (Math.min(...recent) as PressureLevel);
		const calm = collectAgainMs === undefined ? limits.calm : limits.collected;
		calmSince = reached(load, calm) ? undefined : (calmSince ?? nowMs);
		if (sustained >= level) rightMs = nowMs;
		if (sustained > level) become(sustained, nowMs);
		else if (level > 0 && calmSince !== undefined && nowMs - calmSince >= calmMs) become(0, nowMs);
		else if (level > 0 && nowMs - rightMs >= keepMs[level]) become(level === 2 ? 1 : 0, nowMs);
		// Memory alone keeps the level up.
		const onlyMemory = level > 0 && load.turnMs < limits.calm.turnMs && load.memory >= limits.calm.memory;
		if (onlyMemory && nowMs > (collectAgainMs ?? Number.NEGATIVE_INFINITY)) {
			collectAgainMs = nowMs + collectPauseMs;
			collectPauseMs = Math.min(2 * collectPauseMs, collectMs.most);
			collect();
		}
	}

	function become(next: PressureLevel, nowMs: number): void {
		level = next;
		rightMs = nowMs;
		if (level === 0) {
			collectAgainMs = undefined;
			collectPauseMs = collectMs.first;
		}
		const facts = { level, turnMs: Math.round(last.turnMs), memory: Number(last.memory.toFixed(2)), shed: { ...shed } };
		if (level > 0) log.warn(facts, "overloaded: refusing what goes first, at level 2 the rest as well");
		else log.info(facts, "no longer overloaded");
	}

	function schedule(): void {
		timer = setTimeout(() => {
			void look().then((load) => {
				note(load, performance.now());
				// After it: a collection is no turn that took long.
				lastSampleMs = performance.now();
				if (!closed) schedule();
			});
		}, sampleMs).unref();
	}

	/** In the middle of a turn, when the next sample is overdue. A process that only was stopped has few requests until then. */
	function lookInBetween(): void {
		const nowMs = performance.now();
		const turnMs = nowMs - lastSampleMs - sampleMs;
		if (turnMs >= limits[1].turnMs) note({ turnMs, memory: last.memory }, nowMs);
	}

	schedule();
	return {
		/** For the first look at a request, which it counts. */
		enter(): PressureLevel {
			requests++;
			if (requests % requestsToLook === 0) lookInBetween();
			return level;
		},

		/** Whether a request to such a route is refused now; it is counted then. */
		refuses(route: Shed): boolean {
			if (route === "never" || level < (route === "first" ? 1 : 2)) return false;
			shed[route ?? "rest"]++;
			return true;
		},

		/** Counts a connection that src/http-server.ts did not take. */
		refuseConnection(): void {
			shed.connections++;
		},

		note,

		/** What was measured last, and how many requests were refused so far. */
		stats: () => ({ level, ...last, shed: { ...shed } }),

		close(): void {
			closed = true;
			clearTimeout(timer);
		},
	};
}

const reached = (load: Load, limit: Load): boolean => load.turnMs >= limit.turnMs || load.memory >= limit.memory;

/** From one timer to the end of the turn: everything that was ready to be read had its time in between. */
function lookAtProcess(): Promise<Load> {
	const began = performance.now();
	return new Promise((resolve) => {
		setImmediate(() => resolve({ turnMs: performance.now() - began, memory: memoryUsed() }));
	});
}

const constrained = process.constrainedMemory();
/** What a container allows the whole process. Without a limit Node says 0, or more than the machine has. */
export const containerBytes: number =
	constrained > 0 && constrained < totalmem() ? constrained : Number.POSITIVE_INFINITY;

/**
 * What a flood leaves behind stays until somebody allocates: V8 has no other reason to look. Requests are refused, so
 * nobody would, and the level would never fall. Of an ordinary collection V8 keeps the pages for ten seconds and more,
 * after the last resort none.
 */
export function collectGarbage(): void {
	setFlagsFromString("--expose-gc");
	runInNewContext('gc({ type: "major", execution: "sync", flavor: "last-resort" })');
}

/**
 * Part of the container's memory that is left to what this process does not see: sockets, other processes in the container,
 * such as the image's health check (16 MB), and those pages of Node's own program that are in use all the time.
 */
const unseenBytes = 24 * 1024 * 1024;

/**
 * The heap against V8's own limit, or the process against the container's: but for the part of the heap that is free,
 * which is used before any more is asked for.
 */
function memoryUsed(): number {
	const { total_physical_size, used_heap_size, heap_size_limit } = getHeapStatistics();
	const heap = used_heap_size / heap_size_limit;
	if (containerBytes === Number.POSITIVE_INFINITY) return heap;
	try {
		const bytes = unreclaimableBytes() - (total_physical_size - used_heap_size);
		return Math.max(heap, bytes / Math.max(1, containerBytes - unseenBytes));
	} catch {
		// There may be no file left to open.
		return heap;
	}
}

/**
 * The memory of this process that the kernel cannot take back (`RssAnon` of proc_pid_status(5)). Some 50 MB more are
 * resident, of Node's own program, which the kernel drops and reads again where it has to: a limit ends nobody for those.
 * A kernel that does not tell them apart, as Linux before 4.5 and gVisor, counts everything.
 */
function unreclaimableBytes(): number {
	const [, kilobytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
	return kilobytes === undefined ? process.memoryUsage.rss() : Number(kilobytes) * 1024;
}
