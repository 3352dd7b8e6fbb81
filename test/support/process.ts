/**
 * The real process: the program in a Node of its own, with an environment of its own, on a free port of the loopback
 * interface. What a test starts here ends with the test.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Test } from "tap";
import { goodPassword } from "./app.ts";

export { testSecret } from "./settings.ts";

export const project = resolve(import.meta.dirname, "../..");

/** What the image runs, where the runner has built it: it starts in half the time of the sources, and tests start hundreds. */
const source = [process.env.TEST_PROGRAM ?? resolve(project, "src/main.ts")];

/** The settings of a first administrator, `root`, with the password `goodPassword`. */
export const rootAccount = { BOOTSTRAP_USERNAME: "root", BOOTSTRAP_PASSWORD: goodPassword };

/** Settings by their environment names; `undefined` takes a default of this file away. */
export type Settings = Record<string, string | undefined>;

/** How a process ended. */
export interface Outcome {
	code: number | null;
	signal: NodeJS.Signals | null;
	stdout: string;
	stderr: string;
}

/** A process that runs. */
export interface Running {
	pid: number;
	child: ChildProcess;
	/** Everything it wrote to standard output so far. */
	stdout(): string;
	/** The lines of a JSON log so far. */
	logged(): Record<string, unknown>[];
	/** Resolves once standard output holds this; rejects when the process ends before. */
	until(pattern: RegExp): Promise<RegExpExecArray>;
	signal(name: NodeJS.Signals): void;
	ended: Promise<Outcome>;
}

/** A server that is ready. */
export interface RunningServer extends Running {
	url: string;
	get(path: string, token?: string): Promise<Response>;
	login(username: string, password?: string): Promise<Response>;
	tokenFor(username: string, password?: string): Promise<string>;
	pairFor(username: string): Promise<TokenPair>;
	post(path: string, fields: Record<string, string>, token?: string): Promise<Response>;
	/** Ends it as a power cut would, and waits until it is gone. */
	kill(): Promise<void>;
}

/** The tokens of a login or a refresh. */
export interface TokenPair {
	access_token: string;
	refresh_token: string;
}

/** The environment a process gets: what a shell has, the test's settings, and nothing of the test runner's. */
export function environment(settings: Settings): NodeJS.ProcessEnv {
	const { PATH, HOME } = process.env;
	// The documentation page takes a third of the time that a start takes.
	const quick = { HASH_COST: "10", HASH_MAX_WAIT_SECONDS: "30", DOCS: "off" };
	// A third of it is compiling what the process before has compiled already.
	const NODE_COMPILE_CACHE = resolve(project, "node_modules/.cache/compiled");
	const all = { PATH, HOME, NODE_COMPILE_CACHE, HOST: "127.0.0.1", PORT: "0", ...quick, ...settings };
	return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/**
 * tap gives every process that a test starts its own loader, to count coverage: here the product itself is to run, as it
 * will, and a start takes half the time. Arguments of `env`.
 */
export const withoutTap = ["-u", "NODE_OPTIONS", "-u", "NODE_V8_COVERAGE"];

/** Who owns what is started: it ends with its owner, a test as a rule. */
export type Owner = Pick<Test, "teardown">;

/** Starts any program; it is ended by force when the test is over. */
export function start(t: Owner, command: string, args: string[], options: SpawnOptions): Running {
	const child = spawn("env", [...withoutTap, command, ...args], {
		cwd: project,
		stdio: ["pipe", "pipe", "pipe"],
		...options,
	});
	const { pid, stdout, stderr, stdin } = child;
	if (pid === undefined || !stdout || !stderr || !stdin) throw new Error(`${command} did not start`);
	// A program that ends before it has read its input is no fault of the test.
	stdin.on("error", () => {});
	let out = "";
	let err = "";
	stdout.setEncoding("utf8").on("data", (text: string) => {
		out += text;
	});
	stderr.setEncoding("utf8").on("data", (text: string) => {
		err += text;
	});
	const ended = once(child, "close").then(
		([code, signal]): Outcome => ({ code, signal, stdout: out, stderr: err }) as Outcome,
	);
	t.teardown(async () => {
		child.kill("SIGKILL");
		await ended;
	});
	return {
		pid,
		child,
		stdout: () => out,
		logged: () =>
			out
				.split("\n")
				.filter((line) => line.startsWith("{"))
				.map((line) => JSON.parse(line) as Record<string, unknown>),
		async until(pattern) {
			for (;;) {
				const found = pattern.exec(stripVTControlCharacters(out));
				if (found) return found;
				if (!stdout.readable) throw new Error(`it ended before it said ${pattern}:\n${out}${err}`);
				await Promise.race([once(stdout, "data"), once(stdout, "close")]);
			}
		},
		signal: (name) => void child.kill(name),
		ended,
	};
}

/** Starts the server without waiting for it. */
export const launchServer = (t: Owner, settings: Settings, program: string[] = source): Running =>
	start(t, process.execPath, program, { env: environment(settings) });

/** Starts the server and waits until it is ready. */
export async function startServer(t: Owner, settings: Settings, program?: string[]): Promise<RunningServer> {
	const running = launchServer(t, settings, program);
	const [, url = ""] = await running.until(/"url":"([^"]+)".*"Gatehouse is ready"/);
	return {
		...running,
		...clientOf(url),
		async kill() {
			running.signal("SIGKILL");
			await running.ended;
		},
	};
}

/** Runs a command to its end. */
export function run(t: Owner, words: string[], settings: Settings, input = ""): Promise<Outcome> {
	const { child, ended } = start(t, process.execPath, [...source, ...words], { env: environment(settings) });
	child.stdin?.end(input);
	return ended;
}

/** What clients do. */
export function clientOf(url: string) {
	const bearer = (token?: string): Record<string, string> =>
		token === undefined ? {} : { authorization: `Bearer ${token}` };
	const post = (path: string, fields: Record<string, string>, token?: string) =>
		fetch(`${url}${path}`, { method: "POST", headers: bearer(token), body: new URLSearchParams(fields) });
	const login = (username: string, password = goodPassword) => post("/login", { username, password });
	async function pairFor(username: string, password?: string): Promise<TokenPair> {
		const answer = await login(username, password);
		if (answer.status !== 200) throw new Error(`${username} cannot log in: ${await answer.text()}`);
		return (await answer.json()) as TokenPair;
	}
	return {
		url,
		get: (path: string, token?: string) => fetch(`${url}${path}`, { headers: bearer(token) }),
		post,
		login,
		pairFor,
		tokenFor: async (username: string, password?: string): Promise<string> =>
			(await pairFor(username, password)).access_token,
	};
}
