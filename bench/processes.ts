/** Starts the servers that are measured, each a process of its own, and asks them questions over IPC. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

export interface Server {
	url: string;
	/** Calls one of the functions that the server hands to `answerQuestions`. */
	ask<Answer>(question: string, argument?: unknown): Promise<Answer>;
	stop(): Promise<void>;
}

/** Whether processes can be bound to cores: the server then gets one, and the load generator another. */
export const canPin = availableParallelism() >= 2 && spawnSync("taskset", ["-V"]).status === 0;
export const serverCpu = "0";
export const loadCpu = "1";

/** The command line that runs a program on these cores only, where that is possible. */
export const pinned = (cpus: string, command: string, ...words: string[]): [string, string[]] =>
	canPin ? ["taskset", ["-c", cpus, command, ...words]] : [command, words];

/** Spawns one of `bench/servers` and waits until it listens. */
export async function startServer(
	file: string,
	{ environment = {}, cpus = serverCpu }: { environment?: Record<string, string>; cpus?: string } = {},
): Promise<Server> {
	const path = join(import.meta.dirname, "servers", file);
	const [command, words] = pinned(cpus, process.execPath, ...profiling(), "--expose-gc", path);
	const child = spawn(command, words, {
		stdio: ["ignore", "ignore", "inherit", "ipc"],
		env: { ...baseEnvironment(), ...environment },
	});
	const waiting = new Map<number, PromiseWithResolvers<unknown>>();
	const ready = Promise.withResolvers<string>();
	let count = 0;
	child.on("message", (message: { url: string } | { id: number; value?: unknown; error?: string }) => {
		if ("url" in message) return ready.resolve(message.url);
		const question = waiting.get(message.id);
		waiting.delete(message.id);
		if (message.error === undefined) question?.resolve(message.value);
		else question?.reject(new Error(`${file}: ${message.error}`));
	});
	child.on("exit", (code) => {
		const error = new Error(`${file} ended with code ${code}`);
		ready.reject(error);
		for (const { reject } of waiting.values()) reject(error);
	});
	return {
		url: await ready.promise,
		ask: <Answer>(question: string, argument?: unknown) => {
			const id = ++count;
			const answer = Promise.withResolvers<unknown>();
			waiting.set(id, answer);
			child.send({ id, question, argument });
			return answer.promise as Promise<Answer>;
		},
		stop: () => stop(child),
	};
}

/** Ends a process and waits for it. */
export async function stop(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null) return;
	const ended = once(child, "exit");
	// The servers of the benchmarks have nothing to finish.
	child.kill("SIGINT");
	await ended;
}

const folders: string[] = [];
process.once("exit", () => {
	for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder that is gone when the benchmark ends. */
export function temporaryFolder(): string {
	const folder = mkdtempSync(join(tmpdir(), "gatehouse-bench-"));
	folders.push(folder);
	return folder;
}

/** How many requests are under way at once. */
export const concurrency = 32;

export const username = "bench";
export const password = "copper thistle meridian 2718";

/** The settings of a Gatehouse in production, over a store of its own. */
export const gatehouseEnvironment = (dataDir: string): Record<string, string> => ({
	NODE_ENV: "production",
	HOST: "127.0.0.1",
	PORT: "0",
	ISSUER: "https://login.example.com",
	DATA_DIR: dataDir,
	BOOTSTRAP_USERNAME: username,
	BOOTSTRAP_PASSWORD: password,
	DRAIN_SECONDS: "0",
	// What is measured is the work itself, by clients that all have one address.
	LOGIN_LIMITS: "off",
});

/** What a child process needs of ours, without the settings a developer may have set for himself. */
export const baseEnvironment = (): Record<string, string> => ({ PATH: process.env.PATH ?? "", NODE_ENV: "production" });

/** BENCH_PROFILE=FOLDER writes a CPU profile of each server there when it ends. */
function profiling(): string[] {
	const folder = process.env.BENCH_PROFILE;
	return folder ? ["--cpu-prof", "--cpu-prof-dir", folder] : [];
}
