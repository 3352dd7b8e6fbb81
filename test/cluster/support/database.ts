/**
 * A real PostgreSQL of one test's own, with the durability of production, that can be stopped like a power cut, started
 * again, frozen and thawed.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../support/free-port.ts";
import type { Owner } from "../../support/process.ts";
import { queryAt } from "./sql.ts";

const password = "postgres";

export type Database = Awaited<ReturnType<typeof startDatabase>>;

/**
 * Makes an empty database server and starts it on a free port. It ends with its owner.
 *
 * @param settings lines of postgresql.conf, over PostgreSQL's own defaults.
 * @param folder an existing database to start on, such as a restored backup.
 */
export async function startDatabase(
	owner: Owner,
	{
		settings = {},
		folder,
		programs = programsOfTheRun(),
	}: { settings?: Record<string, string>; folder?: string; programs?: string } = {},
) {
	const port = await freePort();
	const as = databaseUser();
	const data = folder ?? newDatabase(owner, programs);
	const lines = Object.entries({ listen_addresses: "127.0.0.1", unix_socket_directories: "", port, ...settings });
	appendFileSync(join(data, "postgresql.conf"), lines.map(([name, value]) => `\n${name} = '${value}'`).join(""));
	const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
	let server: ChildProcess | undefined;
	let log = "";

	const pids = (): number[] => {
		const postmaster = server?.pid;
		if (postmaster === undefined) throw new Error("PostgreSQL is not running");
		const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(postmaster)], { encoding: "utf8" });
		// The postmaster first: so that it starts no child that is missed.
		return [postmaster, ...stdout.trim().split(/\s+/).filter(Boolean).map(Number)];
	};
	const signal = (name: NodeJS.Signals) => {
		for (const pid of pids())
			try {
				process.kill(pid, name);
			} catch {
				// A child of PostgreSQL that ended by itself meanwhile.
			}
	};

	async function start(): Promise<void> {
		const child = spawn(join(programs, "postgres"), ["-D", data], { ...as, stdio: ["ignore", "ignore", "pipe"] });
		server = child;
		const { stderr } = child;
		stderr.setEncoding("utf8");
		const ready = Promise.withResolvers<void>();
		let said = "";
		stderr.on("data", (text: string) => {
			log += text;
			said += text;
			if (said.includes("database system is ready to accept connections")) ready.resolve();
		});
		child.on("exit", () => ready.reject(new Error(`PostgreSQL ended:\n${said}`)));
		await ready.promise;
	}

	/** As `pg_ctl stop -m immediate`: no client is told, nothing is written; the next start recovers from the log. */
	async function stop(): Promise<void> {
		const child = server;
		if (!child || child.exitCode !== null || child.signalCode !== null) return;
		const ended = once(child, "exit");
		signal("SIGCONT");
		child.kill("SIGQUIT");
		await ended;
	}

	/** Every process of the server at once, with no time for anything. */
	async function kill(): Promise<void> {
		const child = server;
		if (!child || child.exitCode !== null || child.signalCode !== null) return;
		const ended = once(child, "exit");
		const all = pids();
		signal("SIGKILL");
		await ended;
		// A child that still ends holds the shared memory, and the next start would be refused.
		while (all.some((pid) => existsSync(`/proc/${pid}`))) await sleep(10);
	}

	owner.teardown(stop);
	await start();
	return {
		url,
		port,
		/** Where its files are. */
		data,
		log: () => log,
		start,
		stop,
		kill,
		/** Every process of the server stops where it is: connections stay open and nothing answers. */
		freeze: () => signal("SIGSTOP"),
		thaw: () => signal("SIGCONT"),
		/** As the kernel's out-of-memory killer would: the server ends every connection and recovers. */
		async killBackend(): Promise<void> {
			const [row] = await queryAt(
				url,
				"select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1",
			);
			if (row) process.kill(Number(row.pid), "SIGKILL");
		},
		/** One statement over a connection of its own. */
		query: (statement: string, values: unknown[] = []) => queryAt(url, statement, values),
	};
}

/** PostgreSQL does not run as root: then as the user postgres, whom the runner's database has made where it was missing. */
export function databaseUser(): { uid?: number; gid?: number } {
	if (process.getuid?.() !== 0) return {};
	const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
	return { uid: id("-u"), gid: id("-g") };
}

/** A folder that the database's user owns. It goes with its owner. */
export function databaseFolder(owner: Owner): string {
	const folder = mkdtempSync(join(tmpdir(), "gatehouse-cluster-"));
	owner.teardown(() => rmSync(folder, { recursive: true, force: true }));
	const { uid, gid } = databaseUser();
	if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
	return folder;
}

function newDatabase(owner: Owner, programs: string): string {
	const folder = databaseFolder(owner);
	const passwordFile = `${folder}-password`;
	writeFileSync(passwordFile, password);
	const words = [`--pgdata=${folder}`, "--auth=scram-sha-256", "--username=postgres", `--pwfile=${passwordFile}`];
	const { status, stderr } = spawnSync(join(programs, "initdb"), [...words, "--locale=C", "--encoding=UTF8"], {
		...databaseUser(),
		encoding: "utf8",
	});
	rmSync(passwordFile);
	if (status !== 0) throw new Error(`initdb failed: ${stderr}`);
	return folder;
}

function programsOfTheRun(): string {
	const folder = process.env.TEST_POSTGRES_PROGRAMS;
	if (!folder) throw new Error("TEST_POSTGRES_PROGRAMS is not set: run these tests with `npm run test:cluster`");
	return folder;
}
