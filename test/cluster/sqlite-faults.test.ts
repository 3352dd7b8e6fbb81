/** SQLite on a machine that fails it: a full disk, a lock that is not given back, writes that do not arrive, a long reader. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { freePort } from "../support/free-port.ts";
import type { TokenPair } from "../support/process.ts";
import { full, progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { until } from "../support/until.ts";
import { createClient } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { needsRoot, type Single, startUnder } from "./support/single.ts";

const needsLoop = (): { skip?: string } =>
	existsSync("/dev/loop-control") ? {} : { skip: "needs a kernel that mounts files (loop devices)" };

/** Everything that goes on without a write. */
const reads = ["/livez", "/readyz", "/.well-known/jwks.json", "/protected", "/me", "/sessions"];

const statusOf = (answer: Promise<Response>) =>
	answer.then(async (got) => ({ status: got.status, code: ((await got.json()) as { code?: string }).code }));

/** SQLite's own word on a database that is in use, as the process `pid` sees the file. */
function integrity(file: string, pid?: number): string {
	const script = `
		const database = new (require("node:sqlite").DatabaseSync)(process.argv[1], { readOnly: true });
		console.log(database.prepare("pragma integrity_check").get().integrity_check);`;
	const words = [process.execPath, "-e", script, file];
	const [command = "", ...rest] = pid === undefined ? words : ["nsenter", "-t", String(pid), "-m", ...words];
	return execFileSync(command, rest, { encoding: "utf8" }).trim();
}

const refresh = (server: Single, { refresh_token }: TokenPair) => statusOf(server.post("/refresh", { refresh_token }));

t.test(
	"Z13, fault 14: on a full disk writes are 503, reads and verification go on, and it recovers by itself",
	needsRoot(),
	async (t) => {
		const folder = join(temporaryFolder(t), "data");
		mkdirSync(folder, { mode: 0o700 });
		// A mount that only this process sees.
		const script = 'mount -t tmpfs -o size=1m,mode=0700 tmpfs "$0" && exec "$@"';
		const server = await startUnder(t, ["unshare", "-m", "sh", "-c", script, folder], { DATA_DIR: folder });
		const inside = `/proc/${server.nodePid}/root${folder}`;
		const pair = await server.pairFor("root");
		for (let round = 1; round <= (full ? 10 : 1); round++) {
			fill(join(inside, "ballast"));
			let attempts = 0;
			// What SQLite has already written once it can write again without more room.
			await until(
				"a login is refused",
				async () => {
					attempts++;
					return (await server.login("root")).status === 503;
				},
				{ seconds: 60, everyMs: 50 },
			);
			progress(`round ${round}: the disk was full at login ${attempts}`);
			const login = await server.login("root");
			t.equal(login.status, 503);
			t.ok(login.headers.get("retry-after"), "with Retry-After");
			t.match(await login.json(), { code: "STORE_UNAVAILABLE" });
			for (const path of reads) t.equal((await server.get(path, pair.access_token)).status, 200, `${path} goes on`);
			t.match(await refresh(server, pair), { status: 503, code: "STORE_UNAVAILABLE" });
			t.match(server.stdout(), /database or disk is full/, "the log says why");
			rmSync(join(inside, "ballast"));
			await until("logins work again", async () => (await server.login("root")).status === 200, {
				seconds: 5,
				everyMs: 50,
			});
			t.equal(integrity(join(folder, "gatehouse.db"), server.nodePid), "ok");
		}
		t.match(await refresh(server, pair), { status: 200 }, "what was refused has cost nothing");
		t.notMatch(server.stdout(), /"level":60/);
	},
);

t.test(
	"fault 14: on a file system that turns read-only writes are 503 and the rest goes on; repaired, it has lost nothing",
	{ ...needs("mkfs.ext4", "e2fsck"), ...needsLoop(), ...needsRoot() },
	async (t) => {
		const folder = temporaryFolder(t);
		const [image, mounted] = [join(folder, "disk"), join(folder, "mounted")];
		mkdirSync(mounted);
		writeFileSync(image, "");
		truncateSync(image, 64 * 1024 * 1024);
		execFileSync("mkfs.ext4", ["-q", image]);
		// `remount,ro` itself is refused while a file is open for writing: this is what ext4 does when its disk fails.
		const serve = () =>
			startUnder(t, ["unshare", "-m", "sh", "-c", 'mount -o loop "$0" "$1" && shift && exec "$@"', image, mounted], {
				DATA_DIR: join(mounted, "data"),
			});
		const server = await serve();
		const pair = await server.pairFor("root");
		execFileSync("nsenter", ["-t", String(server.nodePid), "-m", "mount", "-o", "remount,abort", mounted]);
		for (let round = 0; round < 3; round++) {
			t.match(await statusOf(server.login("root")), { status: 503, code: "STORE_UNAVAILABLE" });
			t.match(await refresh(server, pair), { status: 503, code: "STORE_UNAVAILABLE" });
			for (const path of reads) t.equal((await server.get(path, pair.access_token)).status, 200, `${path} goes on`);
		}
		t.match(server.stdout(), /readonly|read-only|disk I\/O error/i, "the log says why");
		t.notMatch(server.stdout(), /"level":60/);
		server.signal("SIGTERM");
		t.equal((await server.ended).code, 0, "it can end");

		const { status } = spawnSync("e2fsck", ["-p", image]);
		t.ok(status === 0 || status === 1, `e2fsck ends with ${status}`);
		const again = await serve();
		t.match(await refresh(again, pair), { status: 200 }, "what was refused has cost nothing");
		await again.pairFor("root");
		t.equal(integrity(join(mounted, "data/gatehouse.db"), again.nodePid), "ok");
		again.signal("SIGTERM");
		await again.ended;
	},
);

/** Writes until nothing more fits. */
function fill(file: string): void {
	for (const bytes of [65_536, 4096, 512, 1])
		for (;;)
			try {
				writeFileSync(file, Buffer.alloc(bytes), { flag: "a" });
			} catch {
				break;
			}
}

t.test(
	"Z14, fault 13: a foreign lock of 10 seconds stops no event loop; a write waits two seconds and is 503",
	async (t) => {
		const folder = temporaryFolder(t);
		const server = await startUnder(t, ["env"], { DATA_DIR: folder });
		const client = createClient();
		t.teardown(client.close);
		const token = await server.tokenFor("root");
		const other = new DatabaseSync(join(folder, "gatehouse.db"));
		t.teardown(() => other.close());
		other.exec("begin immediate; update changes set version = version");
		const endMs = performance.now() + 10_000;
		const logins = (async () => {
			const tookMs: number[] = [];
			while (performance.now() < endMs - 3000) {
				const began = performance.now();
				t.match(await statusOf(server.login("root")), { status: 503, code: "STORE_UNAVAILABLE" });
				tookMs.push(performance.now() - began);
			}
			return tookMs;
		})();
		const tookMs: number[] = [];
		while (performance.now() < endMs)
			for (const path of ["/livez", "/protected", "/me"]) {
				const began = performance.now();
				const { status } = await client.send(`${server.url}${path}`, { token });
				if (status !== 200) t.fail(`${path} answers ${status}`);
				tookMs.push(performance.now() - began);
				await sleep(5);
			}
		const slowest = Math.max(...(await logins));
		tookMs.sort((a, b) => a - b);
		const p99 = tookMs[Math.floor(tookMs.length * 0.99)] ?? Number.NaN;
		progress(
			`${tookMs.length} requests meanwhile, p99 ${p99.toFixed(1)} ms; the slowest login ${slowest.toFixed(0)} ms`,
		);
		t.ok(p99 < 100, "p99 of /livez, /protected and /me under 100 ms");
		t.ok(slowest < 3000, "a login waits about two seconds");
		other.exec("rollback");
		t.equal((await server.login("root")).status, 200, "and then it can write at once");
	},
);

t.test(
	"Z27: writes that do not reach the disk are 503, and nothing that was acknowledged is lost",
	{ ...needsRoot(), ...needs("strace") },
	async (t) => {
		const folder = temporaryFolder(t);
		const first = await startUnder(t, ["env"], { DATA_DIR: folder });
		const acknowledged = [await first.pairFor("root"), await first.pairFor("root")];
		const failing = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"];
		const strace = spawn("strace", ["-f", "-q", "-p", String(first.nodePid), ...failing], {
			stdio: ["ignore", "ignore", "pipe"],
		});
		t.teardown(() => void strace.kill("SIGKILL"));
		let traced = "";
		strace.stderr.on("data", (text) => {
			traced += text;
		});
		await until(
			"calls fail",
			async () => {
				const answer = await first.login("root");
				if (answer.status === 200) acknowledged.push((await answer.json()) as TokenPair);
				return traced.includes("INJECTED");
			},
			{ everyMs: 50 },
		);
		const token = acknowledged[0]?.access_token;
		for (let round = 0; round < (full ? 50 : 5); round++) {
			const answer = await first.login("root");
			t.equal(answer.status, 503, "a login is not acknowledged");
			t.match(await answer.json(), { code: "STORE_UNAVAILABLE" });
		}
		for (const path of reads) t.equal((await first.get(path, token)).status, 200, `${path} goes on`);
		t.match(first.stdout(), /disk I\/O error/, "the log says why");
		const detached = once(strace, "exit");
		strace.kill("SIGINT");
		await detached;
		await until(
			"logins work again",
			async () => {
				const answer = await first.login("root");
				if (answer.status !== 200) return false;
				acknowledged.push((await answer.json()) as TokenPair);
				return true;
			},
			{ seconds: 5, everyMs: 50 },
		);
		t.notMatch(first.stdout(), /"level":60/);
		first.signal("SIGKILL");
		await first.ended;
		t.equal(integrity(join(folder, "gatehouse.db")), "ok");
		const second = await startUnder(t, ["env"], { DATA_DIR: folder });
		for (const pair of acknowledged)
			t.match(await refresh(second, pair), { status: 200 }, "an acknowledged session is there");
	},
);

t.test("fault 15: while a reader stays, the log of writes grows; it shrinks when the reader has gone", async (t) => {
	const folder = temporaryFolder(t);
	const management = await freePort();
	const server = await startUnder(t, ["env"], { DATA_DIR: folder, MANAGEMENT_PORT: String(management) });
	const file = join(folder, "gatehouse.db");
	const walBytes = () => statSync(`${file}-wal`).size;
	/** What whoever is on call sees of it. */
	const metric = async () => {
		const text = await (await fetch(`http://127.0.0.1:${management}/metrics`)).text();
		return Number(/^gatehouse_store_log_bytes (\S+)$/m.exec(text)?.[1]);
	};
	let pair = await server.pairFor("root");
	const write = async (times: number) => {
		for (let turn = 0; turn < times; turn++) {
			const answer = await server.post("/refresh", { refresh_token: pair.refresh_token });
			t.equal(answer.status, 200);
			pair = (await answer.json()) as TokenPair;
		}
	};
	const reader = new DatabaseSync(file, { readOnly: true });
	t.teardown(() => reader.close());
	reader.exec("begin");
	reader.prepare("select count(*) from users").get();
	await write(full ? 20_000 : 6000);
	let grown = walBytes();
	t.ok(grown > 5_000_000, `it has grown to ${(grown / 1e6).toFixed(1)} MB`);
	const noticed = await metric();
	t.ok(noticed >= grown, "the metric says so");
	grown = walBytes();
	t.ok(noticed <= grown);
	reader.exec("rollback");
	await write(2000);
	progress(`${(grown / 1e6).toFixed(1)} MB with the reader, ${(walBytes() / 1e6).toFixed(1)} MB after it`);
	t.ok(walBytes() < 5_000_000, "no more than SQLite lets it grow before it begins anew");
	t.ok((await metric()) < 5_000_000);
});
