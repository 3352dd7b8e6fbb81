/**
 * Builds the image and logs a user in, without a Docker engine: `npm run test:image`, as root on Linux.
 * The service runs as the image's unprivileged user with everything but DATA_DIR read-only.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { build, enter, type Stage } from "./dockerfile.ts";
import { freePort } from "./free-port.ts";

const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const username = "image-admin";
const password = "granite teapot under moonlight";
/** What somebody who deploys the image has to give it. */
const environment = {
	HOST: "127.0.0.1",
	PORT: String(port),
	ISSUER: "https://login.example.com",
	BOOTSTRAP_USERNAME: username,
	BOOTSTRAP_PASSWORD: password,
	DRAIN_SECONDS: "1",
};

const check = (holds: boolean, text: string): void => {
	if (!holds) throw new Error(`This does not hold: ${text}`);
	console.log(`ok  ${text}`);
};

const runInImage = (image: Stage, ...words: string[]) =>
	spawnSync("unshare", enter(image, words, { sealed: true, environment }), {
		encoding: "utf8",
	});

const waitUntilReady = async (server: ChildProcess): Promise<void> => {
	const deadline = Date.now() + 30_000;
	while (Date.now() < deadline && server.exitCode === null) {
		const answer = await fetch(`${origin}/readyz`).catch(() => undefined);
		if (answer?.ok) return;
		await wait(100);
	}
	throw new Error("The service did not become ready");
};

const logIn = async (): Promise<void> => {
	const body = new URLSearchParams({ username, password });
	const login = await fetch(`${origin}/login`, { method: "POST", body });
	check(login.status === 200, "POST /login answers 200 to the form");
	const { access_token: token } = (await login.json()) as {
		access_token: string;
	};
	const bare = await fetch(`${origin}/protected`);
	check(bare.status === 401, "GET /protected answers 401 without a token");
	const answer = await fetch(`${origin}/protected`, {
		headers: { authorization: `Bearer ${token}` },
	});
	check(answer.status === 200, `GET /protected answers 200 with it: ${await answer.text()}`);
};

const tryFileSystem = (image: Stage): void => {
	const canWrite = (path: string) => runInImage(image, "touch", path).status === 0;
	check(canWrite("/data/probe"), "DATA_DIR is writable");
	for (const folder of ["/", "/app", "/app/dist", "/tmp", "/etc", "/root", "/usr/local/bin"]) {
		check(!canWrite(join(folder, "probe")), `${folder} is not writable`);
	}
	check(runInImage(image, "id", "-u").stdout.trim() === image.user.split(":")[0], `it runs as user ${image.user}`);
	check(image.user.split(":")[0] !== "0", "that user is not root");
	const extras = runInImage(image, "sh", "-c", "ls node_modules/typescript node_modules/tap src").stdout;
	check(extras === "", "neither sources nor development packages are in it");
	const compiled = runInImage(image, "sh", "-c", "ls /app/compile-cache/*").stdout;
	check(compiled !== "", "V8's compiled code is in it, for its own user");
};

const tryOut = async (image: Stage): Promise<void> => {
	check(runInImage(image, "ls", "-A", "/data").stdout === "", "no store, no secret and no key is in it");
	tryFileSystem(image);
	const words = [...image.entrypoint, ...image.command];
	console.log(`--- ${words.join(" ")}`);
	const server = spawn("unshare", enter(image, words, { sealed: true, environment }), { stdio: "inherit" });
	try {
		await waitUntilReady(server);
		check(true, "GET /readyz answers 200");
		await logIn();
		check(runInImage(image, ...image.healthcheck).status === 0, "HEALTHCHECK passes");
		const list = runInImage(image, "gatehouse", "user", "list");
		check(list.status === 0 && list.stdout.includes(username), "gatehouse user list shows the user");
		server.kill("SIGTERM");
		const [code] = await once(server, "exit");
		check(code === 0, "SIGTERM ends it with exit code 0");
		check(runInImage(image, ...image.healthcheck).status !== 0, "HEALTHCHECK fails once it is gone");
	} finally {
		server.kill("SIGKILL");
	}
};

if (process.getuid?.() !== 0) throw new Error("Mounting needs root: run this as root, or build the image with Docker");
const work = mkdtempSync(join(tmpdir(), "gatehouse-image-"));
chmodSync(work, 0o755);
try {
	await tryOut(build(work));
	console.log("The image works.");
} finally {
	// Never delete through a mount: they are private to the commands above, and this makes sure.
	if (!readFileSync("/proc/mounts", "utf8").includes(work)) rmSync(work, { recursive: true, force: true });
}
