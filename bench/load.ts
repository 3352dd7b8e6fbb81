/** The load generator: wrk where it is installed, else autocannon. It only sends; what a request costs, the server says. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { loadCpu, pinned, type Server } from "./processes.ts";

export const generator = spawnSync("wrk", ["-v"]).error ? "autocannon" : "wrk";

export interface Load {
	server: Server;
	path: string;
	/** One token for every request, or the name of a file with one token a line; those are sent in turn. */
	tokens: { one: string } | { file: string };
	/** No token may be sent twice: the measurement breaks where they do not last. */
	fresh?: boolean;
}

const connections = "32";
/** So short that the machine, whose speed changes from second to second, is the same for all sides. */
const turnMs = 50;
const turns = 10;
/** In this time a server answers what was sent before its load generator was stopped. */
const drainMs = 3;
/** Between two looks of a load generator at whether it shall end. One that was stopped for longer looks as soon as it goes on. */
const looksMs = 100;
const longerThanAnyRound = "60";

/**
 * Sends to all sides, each from a load generator of its own, of which only one runs at a time: they take turns of 50 ms.
 * Answers the microseconds of the server's CPU time (user and system, all its threads) that a request takes.
 */
export async function takeTurns<Side extends string>(sides: Record<Side, Load>): Promise<Record<Side, number>> {
	const names = Object.keys(sides) as Side[];
	const cpu = Object.fromEntries(names.map((name) => [name, 0])) as Record<Side, number>;
	const senders = new Map(names.map((name) => [name, start(sides[name])]));
	for (let turn = 1; turn <= turns; turn++)
		for (const name of turn % 2 === 0 ? names : names.toReversed()) {
			const { server } = sides[name];
			const sender = senders.get(name) as Sender;
			// In its last turn it sends until it looks again: as long on every side.
			if (turn === turns) await sleep(looksMs);
			const before = await server.ask<number>("cpuMicroseconds");
			sender.child.kill("SIGCONT");
			await sleep(turnMs);
			if (turn === turns) await end(sender);
			else sender.child.kill("SIGSTOP");
			await sleep(drainMs);
			cpu[name] += (await server.ask<number>("cpuMicroseconds")) - before;
		}
	for (const name of names) cpu[name] /= await answered(sides[name], senders.get(name) as Sender);
	return cpu;
}

/** The same for one side alone, for what cannot take turns within one process. */
export const microsecondsPerRequest = async (server: Server, load: Omit<Load, "server">): Promise<number> =>
	(await takeTurns({ alone: { server, ...load } })).alone;

interface Sender {
	child: ChildProcess;
	output: Promise<string>;
}

/** Starts a load generator, stopped before it does anything. */
function start({ server, path, tokens, fresh = false }: Load): Sender {
	const url = server.url + path;
	const here = import.meta.dirname;
	const list = "file" in tokens ? [tokens.file, fresh ? "once" : "again"] : [];
	const wrk = ["wrk", "-t", "1", "-c", connections, "-d", `${longerThanAnyRound}s`] as const;
	const [command, words] =
		generator === "autocannon"
			? pinned(
					loadCpu,
					process.execPath,
					join(here, "autocannon.ts"),
					url,
					connections,
					JSON.stringify({ tokens, fresh }),
				)
			: "one" in tokens
				? pinned(loadCpu, ...wrk, "-H", `Authorization: Bearer ${tokens.one}`, url)
				: pinned(loadCpu, ...wrk, "-s", join(here, "rotate.lua"), url, "--", ...list);
	const child = spawn(command, words, { stdio: ["ignore", "pipe", "inherit"] });
	child.kill("SIGSTOP");
	return { child, output: text(child.stdout) };
}

/** Tells a load generator to end, which it does when it looks. */
async function end({ child }: Sender): Promise<void> {
	if (child.exitCode !== null) return;
	const ended = once(child, "exit");
	child.kill("SIGINT");
	await ended;
}

/** How many requests of a load generator that has ended were answered, all of them with 200. */
async function answered({ server, path }: Load, { output }: Sender): Promise<number> {
	const said = await output;
	const requests = Number(/(\d+) requests in/.exec(said)?.[1]);
	if (!(requests > 0) || /Non-2xx|Socket errors/.test(said))
		throw new Error(`The load on ${server.url + path} did not go well:\n${said}`);
	return requests;
}
