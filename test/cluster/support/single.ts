/** One server under conditions that the kernel makes: fewer files, less memory, a full disk, another clock, failing calls. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
	clientOf,
	environment,
	type Owner,
	project,
	rootAccount,
	type Settings,
	start,
} from "../../support/process.ts";
import { temporaryFolder } from "../../support/stores.ts";

const main = resolve(project, "src/main.ts");

export type Single = Awaited<ReturnType<typeof startUnder>>;

/**
 * Starts a server over SQLite by another program: `startUnder(t, ["prlimit", "--nofile=128"])`. It has the account `root`.
 * Settings are those of production but for the cost of a hash, which is 10.
 */
export async function startUnder(
	owner: Owner,
	wrapper: readonly string[],
	settings: Settings = {},
	node: string = process.execPath,
) {
	const all = { DATA_DIR: temporaryFolder(owner), ...rootAccount, HASH_MAX_WAIT_SECONDS: undefined, ...settings };
	const [command = "", ...words] = [...wrapper, node, main];
	const running = start(owner, command, words, { env: environment(all) });
	const [, pid, url = ""] = await running.until(/"pid":(\d+).*"url":"([^"]+)".*"Gatehouse is ready"/);
	return { ...running, ...clientOf(url), nodePid: Number(pid) };
}

/** Why a test that mounts, or makes groups of processes, cannot run here; an option of a tap test. */
export const needsRoot = (): { skip?: string } =>
	process.platform === "linux" && process.getuid?.() === 0 ? {} : { skip: "needs Linux and root" };

/** A group of processes with so much memory together; `undefined` where none can be made. The first words of a command enter it. */
export function limitMemory(owner: Owner, bytes: number) {
	const roots = [
		{ folder: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" },
		{ folder: "/sys/fs/cgroup", limit: "memory.max", peak: "memory.peak" },
	];
	for (const { folder, limit, peak } of roots) {
		const group = join(folder, `gatehouse-test-${process.pid}`);
		try {
			mkdirSync(group);
		} catch {
			continue;
		}
		owner.teardown(async () => {
			// The last process may still be on its way out.
			for (let turn = 0; turn < 50; turn++) {
				try {
					return rmdirSync(group);
				} catch {
					await sleep(100);
				}
			}
		});
		if (!existsSync(join(group, limit))) continue;
		writeFileSync(join(group, limit), String(bytes));
		return {
			enter: ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(group, "cgroup.procs")],
			/** The most that it ever had, in bytes. */
			peak: () => Number(readFileSync(join(group, peak), "utf8")),
		};
	}
	return undefined;
}
