/** What a person sees at a terminal: a pseudo-terminal of util-linux stands in for it. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import t, { type Test } from "tap";
import { environment, project, type Settings, start } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

const hasTerminal = spawnSync("script", ["--version"], { encoding: "utf8" }).stdout?.includes("util-linux");
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
const skip = hasTerminal && hasCurl ? false : "this machine has no `script` of util-linux, or no curl";

/** Starts a program as a person does, at a terminal; what is written to it is typed. */
const atTerminal = (t: Test, settings: Settings, ...words: string[]) => {
	// Without `exec` the shell in between would die of Ctrl+C itself, and its exit code hide ours.
	const command = ["exec", process.execPath, join(project, "src/main.ts"), ...words].join(" ");
	const env = { ...environment(settings), TERM: "xterm", SHELL: "/bin/sh" };
	return start(t, "script", ["-qec", command, "/dev/null"], { env });
};

t.test(
	"the first start tells a person where it listens and how to log in, and the second keeps the password",
	{ skip },
	async (t) => {
		const folder = temporaryFolder(t);
		const first = atTerminal(t, { DATA_DIR: folder, DRAIN_SECONDS: "60" });
		await first.until(/Ctrl\+C ends it/);
		const screen = stripVTControlCharacters(first.stdout());
		const password = readFileSync(join(folder, "admin-password"), "utf8").trim();
		const url = /Gatehouse listens on (http:\/\/127\.0\.0\.1:\d+)/.exec(screen)?.[1] ?? "";
		t.equal(screen.split(password).length, 2, "the password is there once");
		t.notMatch(screen, /^\{/m, "no JSON");
		t.match(screen, /^While the store is away: tokens are accepted for 300 s, .*$/m, "what goes on without the store");
		const [login = "", use = ""] = screen.match(/^ {2}curl .*$/gm) ?? [];
		const answer = JSON.parse(execFileSync("sh", ["-c", `${login.trim()} -s`], { encoding: "utf8" }));
		t.match(answer, { token_type: "Bearer", access_token: /^ey/ }, "the line that is shown logs in");
		const command = `${use.trim().replace("ACCESS_TOKEN", answer.access_token)} -s`;
		t.match(
			execFileSync("sh", ["-c", command], { encoding: "utf8" }),
			/Protected route for user: /,
			"so does the next",
		);

		// What anybody can send must not move the cursor of whoever watches.
		await fetch(`${url}/login`, {
			method: "POST",
			body: new URLSearchParams({ username: "\u001b[2Jx", password: "x" }),
		});
		await fetch(`${url}/login`, { method: "POST", body: new URLSearchParams({ username: "x", password: "x" }) });
		await first.until(/warn .*INVALID_CREDENTIALS/);
		t.notMatch(first.stdout(), "\u001b[2J");

		const began = performance.now();
		first.child.stdin?.write("\u0003");
		t.match(await first.ended, { code: 0 }, "Ctrl+C ends it well");
		t.ok(performance.now() - began < 3000, "and at once");

		const second = atTerminal(t, { DATA_DIR: folder });
		await second.until(/Ctrl\+C ends it/);
		t.notOk(second.stdout().includes(password), "the second start does not show the password");
		t.notMatch(second.stdout(), /first administrator/);
		second.child.stdin?.write("\u0003");
		await second.ended;
	},
);

t.test("user add asks for the password twice and does not show it", { skip }, async (t) => {
	const folder = temporaryFolder(t);
	const password = "copper thistle meridian 2718";
	const add = atTerminal(t, { DATA_DIR: folder }, "user", "add", "ada");
	await add.until(/Password: /);
	add.child.stdin?.write(`${password}\r`);
	await add.until(/Once more: /);
	add.child.stdin?.write(`${password}\r`);
	const { code, stdout } = await add.ended;
	t.equal(code, 0);
	t.match(stdout, /made ada with the roles user/);
	t.notOk(stdout.includes("thistle"), "what was typed is not on the screen");

	const differs = atTerminal(t, { DATA_DIR: folder }, "user", "password", "ada");
	await differs.until(/Password: /);
	differs.child.stdin?.write(`${password}\r`);
	await differs.until(/Once more: /);
	differs.child.stdin?.write("another thing\r");
	t.match(await differs.ended, { code: 2, stdout: /the two passwords differ/ });

	const stopped = atTerminal(t, { DATA_DIR: folder }, "user", "password", "ada");
	await stopped.until(/Password: /);
	stopped.child.stdin?.write("\u0003");
	const outcome = await stopped.ended;
	t.match(outcome, { code: 1, stdout: /Ctrl\+C/ });
	t.notMatch(outcome.stdout, /^\s+at /m);
});
