/** The server's end of `startServer`: says where it listens, and answers what the benchmark asks about the process. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

type Answerer = (argument: never) => unknown;

const common = {
	/** User and system time of all threads. */
	cpuMicroseconds: () => {
		const { user, system } = process.cpuUsage();
		return user + system;
	},
	/** What lives on the heap after a full collection. */
	heapBytes: () => {
		globalThis.gc?.();
		globalThis.gc?.();
		return process.memoryUsage().heapUsed;
	},
	/** bcrypt comparisons a second in as many plain threads as the service hashes with, while it has nothing else to do. */
	async rawHashesPerSecond({ stored, password, seconds }: { stored: string; password: string; seconds: number }) {
		const worker = new URL("./raw-hash.ts", import.meta.url);
		const rates = Array.from({ length: availableParallelism() }, () => {
			const { promise, resolve, reject } = Promise.withResolvers<number>();
			new Worker(worker, { workerData: { stored, password, seconds } }).on("message", resolve).on("error", reject);
			return promise;
		});
		return (await Promise.all(rates)).reduce((sum, rate) => sum + rate);
	},
};

/** Call when the server listens. */
export function answerQuestions(url: string, own: Record<string, Answerer> = {}): void {
	const answerers: Record<string, Answerer> = { ...common, ...own };
	process.on("message", ({ id, question, argument }: { id: number; question: string; argument: unknown }) => {
		Promise.resolve(argument)
			.then((given) => answerers[question]?.(given as never))
			.then(
				(value) => process.send?.({ id, value }),
				(error: unknown) => process.send?.({ id, error: String(error) }),
			);
	});
	process.on("SIGINT", () => process.exit(0));
	process.on("disconnect", () => process.exit(0));
	process.send?.({ url });
}
