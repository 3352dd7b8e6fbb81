/**
 * The threads that hash, and the queue in front of them. Hashing is the one thing here that takes real time, so this is
 * where a flood of logins is bounded: what could not start soon enough is refused at once, before any work is spent on it.
 */
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Piscina } from "piscina";
import { errors } from "../errors.ts";
import { createHistogram } from "../metrics/histogram.ts";
import type { Answer } from "./worker.ts";

type Tasks = Pick<typeof import("./worker.ts"), "hash" | "verify" | "findWeakness">;

interface Task {
	name: keyof Tasks;
	argument: unknown;
	/** What it is expected to take, in units of one hash at the current cost. */
	work: number;
	/** Goes before those that do not, but for every fourth turn. */
	first: boolean;
	promise: Promise<Answer<unknown>>;
	resolve(answer: Answer<unknown>): void;
	reject(error: unknown): void;
}

/** Bounds of the histogram of hash times, in seconds. */
const timeBounds = [0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5];
/** The share of the newest measurement in the running mean: about the last ten hashes count. */
const meanWeight = 0.1;

/** After so many that went first in a row the oldest of the others has its turn: they are slower then, never shut out. */
const mostInARow = 3;

/** Opens the pool. `hashSeconds` is the first guess at the duration of one hash at the current cost. */
export function openPool(settings: { threads: number | undefined; maxWaitSeconds: number; hashSeconds: number }) {
	// libuv takes the affinity mask and the cgroup's CPU quota into account (v2, and v1 where `cpu,cpuacct` is one
	// hierarchy), rounded down, at least 1: inside a container this is what the container has, not the machine.
	const slots = settings.threads ?? availableParallelism();
	const threads = new Piscina({
		filename: new URL(`./worker${extname(import.meta.url)}`, import.meta.url).href,
		name: "verify" satisfies keyof Tasks,
		// No thread before the first login, none a minute after the last: each takes memory.
		minThreads: 0,
		maxThreads: slots,
		idleTimeout: 60_000,
		// Hashing makes next to no garbage: with V8's usual 16 MB the dictionary would leave 12 MB more behind in each thread.
		resourceLimits: { maxYoungGenerationSizeMb: 2 },
		// The event loop, which checks tokens, goes first.
		niceIncrement: 10,
		recordTiming: false,
	});
	const waiting: Task[] = [];
	const running = new Set<Task>();
	const work = { hash: 0, verify: 0, findWeakness: 0 };
	const hashSeconds = createHistogram(timeBounds);
	let refused = 0;
	let meanSeconds = settings.hashSeconds;
	let inARow = 0;
	let closed = false;

	// A thread that cannot start: Piscina keeps its task for ever, so give up on those that run.
	threads.on("error", (error: unknown) => {
		for (const task of [...running]) {
			task.reject(error);
			free(task);
		}
	});

	/**
	 * How long a new task would wait: the work before it, spread over the threads. Work that runs counts in full, so the
	 * estimate is about half a hash too long, never too short. With a free thread it is 0, whatever the mean says: a mean
	 * spoilt by one slow hash must not refuse the very tasks that would correct it.
	 */
	function expectedWaitSeconds(first: boolean): number {
		if (running.size < slots) return 0;
		let ahead = 0;
		for (const task of running) ahead += task.work;
		let firsts = 0;
		let others = 0;
		for (const task of waiting)
			if (task.first) firsts += task.work;
			else others += task.work;
		ahead += firsts + (first ? Math.min(others, Math.floor((inARow + firsts) / mostInARow)) : others);
		return (ahead * meanSeconds) / slots;
	}

	/** Refuses what would wait too long. What goes first has room as long as those that do leave it some. */
	function assertRoom(first = false): void {
		if (!closed && expectedWaitSeconds(first) <= settings.maxWaitSeconds) return;
		refused++;
		throw new errors.BUSY();
	}

	function startNext(): void {
		if (running.size >= slots) return;
		const oldestOther = inARow < mostInARow ? -1 : waiting.findIndex(({ first }) => !first);
		const [task] = waiting.splice(Math.max(0, oldestOther), 1);
		if (task === undefined) return;
		inARow = task.first ? inARow + 1 : 0;
		running.add(task);
		const start = performance.now();
		// The signal of the caller stays out of here: Piscina would end the thread to stop the task.
		threads.run(task.argument, { name: task.name }).then(
			(answer: Answer<unknown>) => {
				free(task);
				work[task.name] += answer.work;
				if (answer.work > 0) {
					const seconds = (performance.now() - start) / 1000;
					hashSeconds.observe(seconds);
					meanSeconds += (seconds / answer.work - meanSeconds) * meanWeight;
				}
				task.resolve(answer);
			},
			(error: unknown) => {
				free(task);
				task.reject(error);
			},
		);
	}

	function free(task: Task): void {
		if (running.delete(task)) startNext();
	}

	return {
		/** Throws BUSY where a task would be refused now, for callers that have work to do before they bring one. */
		assertRoom,

		/**
		 * Runs a task of worker.ts in a thread, first come, first served, those that are `first` before others, which
		 * have every fourth turn all the same. `work` is what it is expected to take, in hashes at the current cost. Throws
		 * BUSY where it would wait longer than `maxWaitSeconds`, and the signal's reason when that fires: a waiting task gives up its place, a running one ends in peace and its answer is dropped.
		 */
		async run<Name extends keyof Tasks>(
			name: Name,
			argument: Parameters<Tasks[Name]>[0],
			work: number,
			signal?: AbortSignal,
			first = false,
		): Promise<Awaited<ReturnType<Tasks[Name]>>> {
			signal?.throwIfAborted();
			assertRoom(first);
			const task: Task = {
				name,
				argument,
				work,
				first,
				...Promise.withResolvers<Answer<unknown>>(),
			};
			const leave = () => {
				const place = waiting.indexOf(task);
				if (place !== -1) waiting.splice(place, 1);
				task.reject(signal?.reason);
			};
			signal?.addEventListener("abort", leave, { once: true });
			const place = first ? waiting.findIndex((other) => !other.first) : -1;
			waiting.splice(place === -1 ? waiting.length : place, 0, task);
			startNext();
			try {
				return (await task.promise) as Awaited<ReturnType<Tasks[Name]>>;
			} finally {
				signal?.removeEventListener("abort", leave);
			}
		},

		/**
		 * `work`: what was spent so far, in hashes at the current cost, by the name of the task. `refused`: how often BUSY was
		 * the answer. `hashSeconds`: how long tasks that hash took in their thread.
		 */
		stats() {
			return {
				waiting: waiting.length,
				running: running.size,
				threads: slots,
				refused,
				meanSeconds,
				hashSeconds: hashSeconds.read(),
				work: { ...work },
			};
		},

		/** Refuses what waits with BUSY, lets what runs finish, then ends the threads. */
		async close(): Promise<void> {
			closed = true;
			for (const task of waiting.splice(0)) task.reject(new errors.BUSY());
			// Not `threads.close()`: with two busy threads it ends the second as soon as the first has finished.
			await Promise.allSettled([...running].map((task) => task.promise));
			await threads.destroy();
		},
	};
}
