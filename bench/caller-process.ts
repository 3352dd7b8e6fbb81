/** Starts caller.ts. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Calls, Report } from "./caller.ts";
import { stop } from "./processes.ts";

export type Caller = ReturnType<typeof startCaller>;

/** Whether a process can be put before all others; the system allows that to root only, as a rule. */
export const canGoFirst = spawnSync("chrt", ["-f", "1", "true"]).status === 0;

/**
 * Spawns the caller, before all other processes where that is possible: when an answer has come it is noted at once. The
 * time that a caller waits for a core is not the service's, and under a flood it would wait as long as everybody.
 */
export function startCaller() {
	const node = [process.execPath, join(import.meta.dirname, "caller.ts")] as const;
	const [command, ...words] = canGoFirst ? (["chrt", "-f", "1", ...node] as const) : node;
	const child = spawn(command, words, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
	return {
		async call(calls: Calls): Promise<Report> {
			child.send(calls);
			const [report] = (await once(child, "message")) as [Report];
			return report;
		},
		stop: () => stop(child),
	};
}
