/** The load generator: wrk where it is installed, else autocannon. It only sends; what a request costs, the server says. */
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadCpu, pinned, type Server } from "./processes.ts";

const run = promisify(execFile);

export const generator = spawnSync("wrk", ["-v"]).error ? "autocannon" : "wrk";

export interface Load {
	path: string;
	/** A file with one token a line; they are sent in turn. */
	tokens: string;
	seconds: number;
	/** Ends when every token was sent once. */
	once?: boolean;
}

const connections = "32";

/** Sends requests for some seconds over 32 connections and answers how many were answered, all of them with 200. */
export async function send(server: Server, { path, tokens, seconds, once = false }: Load): Promise<number> {
	const url = server.url + path;
	const mode = once ? "once" : "again";
	const here = import.meta.dirname;
	const [command, words] =
		generator === "wrk"
			? pinned(
					loadCpu,
					...(["wrk", "-t", "1", "-c", connections, "-d", `${seconds}s`] as const),
					...["-s", join(here, "rotate.lua"), url, "--", tokens, mode],
				)
			: pinned(
					loadCpu,
					process.execPath,
					...[join(here, "autocannon.ts"), url, tokens, mode, String(seconds), connections],
				);
	const { stdout } = await run(command, words);
	const requests = Number(/(\d+) requests in/.exec(stdout)?.[1]);
	if (!(requests > 0) || /Non-2xx|Socket errors/.test(stdout))
		throw new Error(`The load on ${url} did not go well:\n${stdout}`);
	return requests;
}

/** Microseconds of the server's CPU time (user and system, all its threads) that a request takes. */
export async function microsecondsPerRequest(server: Server, load: Load): Promise<number> {
	const before = await server.ask<number>("cpuMicroseconds");
	const requests = await send(server, load);
	return ((await server.ask<number>("cpuMicroseconds")) - before) / requests;
}
