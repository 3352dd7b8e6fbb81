/** How long a compiled Gatehouse takes to be ready, and how much memory it takes when nobody calls. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { build } from "../../deploy/build.ts";
import { type Figure, quantile, ratioRow } from "../measure.ts";
import { baseEnvironment, gatehouseEnvironment, stop, temporaryFolder } from "../processes.ts";

const idleSeconds = 10;
const root = join(import.meta.dirname, "..", "..");

export interface Started {
	url: string;
	child: ChildProcess;
	milliseconds: number;
}

export const start: Figure = {
	name: "start",
	rounds: 5,
	async run(rounds, tick) {
		const folder = await compile();
		const data = join(folder, "data");
		mkdirSync(data);
		// As in the image. Both sides have it.
		const cache = { NODE_COMPILE_CACHE: join(folder, "compile-cache") };
		const settings = { ...gatehouseEnvironment(data), ...cache, LOG_LEVEL: "info" };
		const gatehouse = async () => untilReady(join(folder, "dist/src/main.js"), "/readyz", settings);
		const bare = async () => untilReady(join(folder, "dist/bench/servers/bare.js"), "/protected", cache);
		// The first start makes the store, the key, the account, and what V8 keeps of the code.
		for (const one of [gatehouse, bare]) await stop((await one()).child);

		const results: Record<"startRatio" | "memoryRatio" | "startMs" | "bareStartMs" | "rss" | "bareRss", number>[] = [];
		for (let round = 0; round < rounds; round++) {
			const order = round % 2 === 0 ? [gatehouse, bare] : [bare, gatehouse];
			const started = new Map<unknown, Started>();
			for (const one of order) started.set(one, await one());
			await sleep(idleSeconds * 1000);
			const ours = started.get(gatehouse) as Started;
			const theirs = started.get(bare) as Started;
			const rss = memory(ours.child);
			const bareRss = memory(theirs.child);
			await stop(ours.child);
			await stop(theirs.child);
			results.push({
				startRatio: ours.milliseconds / theirs.milliseconds,
				memoryRatio: rss / bareRss,
				startMs: ours.milliseconds,
				bareStartMs: theirs.milliseconds,
				rss,
				bareRss,
			});
			tick();
		}
		const of = (key: keyof (typeof results)[number]) => results.map((result) => result[key]);
		const median = (key: keyof (typeof results)[number]) => quantile(of(key), 0.5).toFixed(0);
		const start = `${median("startMs")} ms against ${median("bareStartMs")} ms`;
		const rss = `resident ${median("rss")} MB against ${median("bareRss")} MB`;
		return [
			ratioRow("start to ready, compiled, existing store, against bare Fastify", of("startRatio"), 3, start, results),
			ratioRow("memory after 10 s idle, against bare Fastify", of("memoryRatio"), 1.7, rss, results),
		];
	},
};

/** Builds what the image runs into a folder of its own, and bare Fastify beside it. */
export async function compile(): Promise<string> {
	const folder = temporaryFolder();
	symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
	copyFileSync(join(root, "package.json"), join(folder, "package.json"));
	await build(join(folder, "dist"), ["bench/servers/bare.ts"]);
	return folder;
}

/** Spawns a server and asks it until it answers 200. */
export async function untilReady(file: string, path: string, environment: Record<string, string>): Promise<Started> {
	const port = await freePort();
	const url = `http://127.0.0.1:${port}`;
	const begin = performance.now();
	const child = spawn(process.execPath, [file], {
		stdio: ["ignore", "ignore", "inherit"],
		env: { ...baseEnvironment(), ...environment, PORT: String(port) },
	});
	while (child.exitCode === null) {
		const answer = await fetch(`${url}${path}`).catch(() => undefined);
		await answer?.text();
		if (answer?.ok) return { url, child, milliseconds: performance.now() - begin };
		await sleep(2);
	}
	throw new Error(`${file} ended with code ${child.exitCode}`);
}

async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await new Promise((resolve) => server.once("listening", resolve));
	const { port } = server.address() as AddressInfo;
	await new Promise((resolve) => server.close(resolve));
	return port;
}

/** Resident memory of a process in MB. */
function memory({ pid }: ChildProcess): number {
	const { stdout } = spawnSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" });
	return Number(stdout) / 1024;
}
