/** The log of a real process whose reader stops, or goes away: row G06 and fault 29. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { constants, openSync } from "node:fs";
import { open } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { freePort } from "../support/free-port.ts";
import { clientOf, environment, project, rootAccount, withoutTap } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

/** A server whose standard output is a pipe to a `cat`. */
async function serverWithReader(t: Test) {
	const folder = temporaryFolder(t);
	const pipe = join(folder, "pipe");
	execFileSync("mkfifo", [pipe]);
	const reader = spawn("cat", [pipe], { stdio: ["ignore", "pipe", "inherit"] });
	let text = "";
	reader.stdout.setEncoding("utf8").on("data", (part: string) => {
		text += part;
	});
	const writeEnd = await open(pipe, constants.O_WRONLY);
	const settings = { DATA_DIR: join(folder, "data"), DRAIN_SECONDS: "0", ...rootAccount };
	const server = spawn("env", [...withoutTap, process.execPath, "src/main.ts"], {
		cwd: project,
		env: environment(settings),
		stdio: ["ignore", writeEnd.fd, "inherit"],
	});
	await writeEnd.close();
	ending(t, server);
	ending(t, reader);
	const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
		for (;;) {
			const found = pattern.exec(text);
			if (found) return found;
			await Promise.race([once(reader.stdout, "data"), once(reader.stdout, "close")]);
		}
	};
	const [, url = ""] = await until(/"url":"([^"]+)"/);
	return { server, reader, until, lines: () => text.split("\n").filter(Boolean), ...clientOf(url) };
}

/** A stopped process is ended only by force. */
function ending(t: Test, child: ChildProcess): void {
	const ended = once(child, "close");
	t.teardown(async () => {
		child.kill("SIGKILL");
		await ended;
	});
}

/** So many requests, all refused and so all logged, over one connection; resolves when all are answered. */
async function refusals(url: string, count: number): Promise<void> {
	const socket = connect(Number(new URL(url).port), "127.0.0.1");
	let answers = 0;
	let rest = "";
	const request = "GET /me HTTP/1.1\r\nHost: localhost\r\n\r\n";
	for (let sent = 0; sent < count; sent += 100) {
		socket.write(request.repeat(100));
		while (answers < sent + 100) {
			const [data] = (await once(socket, "data")) as [Buffer];
			const pieces = (rest + data.toString("latin1")).split("HTTP/1.1 401");
			answers += pieces.length - 1;
			rest = (pieces.at(-1) ?? "").slice(-20);
		}
	}
	socket.destroy();
}

t.test("G06, fault 29: a reader that has stopped holds nobody up, and is told how much it missed", async (t) => {
	const { server, reader, url, get, tokenFor, until, lines } = await serverWithReader(t);
	const token = await tokenFor("root");
	reader.kill("SIGSTOP");
	const count = 8000;
	await refusals(url, count);
	const began = performance.now();
	t.equal((await get("/protected", token)).status, 200);
	t.equal((await get("/livez")).status, 200);
	await tokenFor("root");
	t.ok(performance.now() - began < 2000, "the pipe has been full for long, and everything is answered");
	reader.kill("SIGCONT");
	await until(/lines of the log were dropped.*\n/);
	const parsed = lines().map((line) => JSON.parse(line) as Record<string, unknown>);
	const refused = parsed.filter(({ code }) => code === "AUTHENTICATION_REQUIRED").length;
	const dropped = Number(parsed.find(({ dropped }) => dropped !== undefined)?.dropped);
	t.ok(refused > 500 && refused < count, `the buffer is bounded: ${refused} lines of ${count} were kept`);
	// The login meanwhile had a line of its own, which was dropped as well.
	t.equal(refused + dropped, count + 1, "every line is there or counted");
	server.kill("SIGTERM");
	t.same(await once(server, "close"), [0, null]);
	await until(/"ended"/);
});

t.test("G06: a reader that is gone ends nobody: requests go on without a log, and the end is a good one", async (t) => {
	const { server, reader, url, get, tokenFor } = await serverWithReader(t);
	reader.kill("SIGKILL");
	await once(reader, "close");
	await refusals(url, 500);
	const token = await tokenFor("root");
	t.equal((await get("/protected", token)).status, 200);
	t.equal(server.exitCode, null);
	server.kill("SIGTERM");
	t.same(await once(server, "close"), [0, null]);
});

t.test("fault 29: a log on a full disk ends nobody", { skip: process.platform !== "linux" }, async (t) => {
	const folder = temporaryFolder(t);
	const port = await freePort();
	const settings = { DATA_DIR: folder, PORT: String(port), DRAIN_SECONDS: "0", ...rootAccount };
	// Every write to this device fails as on a full disk.
	const server = spawn("env", [...withoutTap, process.execPath, "src/main.ts"], {
		cwd: project,
		env: environment(settings),
		stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
	});
	ending(t, server);
	const { url, get, tokenFor } = clientOf(`http://127.0.0.1:${port}`);
	while (!(await get("/readyz").catch(() => undefined))?.ok) {
		if (server.exitCode !== null) throw new Error(`it ended with ${server.exitCode}`);
		await sleep(50);
	}
	await refusals(url, 500);
	t.equal((await get("/protected", await tokenFor("root"))).status, 200);
	server.kill("SIGTERM");
	t.same(await once(server, "close"), [0, null]);
	t.equal(server.stderr?.read(), null, "nothing was said elsewhere");
});
