/** More work than one machine can do: what is refused is refused at once, and the rest goes on. */
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { rootAccount, run, start } from "../support/process.ts";
import { full, progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { until } from "../support/until.ts";
import { broke, createClient, quantile } from "./support/load.ts";
import { limitMemory, needsRoot, startUnder } from "./support/single.ts";

const fields = { username: rootAccount.BOOTSTRAP_USERNAME, password: rootAccount.BOOTSTRAP_PASSWORD };

interface Outcome {
	status: number | string;
	milliseconds: number;
}

/** Sends so many in a second, whatever becomes of those before; answers what became of each. */
async function flood(perSecond: number, seconds: number, send: () => Promise<{ status: number }>): Promise<Outcome[]> {
	const outcomes: Outcome[] = [];
	const pending = new Set<Promise<void>>();
	const begin = performance.now();
	for (let turn = 0; turn < perSecond * seconds; turn++) {
		const waitMs = begin + (turn * 1000) / perSecond - performance.now();
		if (waitMs > 0) await sleep(waitMs);
		const sentMs = performance.now();
		const sent = send()
			.then(({ status }) => status, broke)
			.then((status) => {
				outcomes.push({ status, milliseconds: performance.now() - sentMs });
				pending.delete(sent);
			});
		pending.add(sent);
	}
	await Promise.all(pending);
	return outcomes;
}

t.test(
	"Z15, R12, Z21, fault 18: ten times more logins than it can do: the rest is refused at once, and checking tokens goes on",
	async (t) => {
		const settings = { DATA_DIR: temporaryFolder(t), LOGIN_LIMITS: "off" };
		const server = await startUnder(t, ["env"], settings);
		const client = createClient();
		t.teardown(client.close);
		// Somebody else: an account has at most 1,000 sessions, and in a minute the logins end the oldest ones of theirs.
		await run(t, ["user", "add", "ada", "--password-stdin"], settings, fields.password);
		const token = await server.tokenFor("ada");
		const login = () => client.send(`${server.url}/login`, { fields });

		// Its capacity: as many at once as there are threads, and always one more.
		let done = 0;
		const untilMs = performance.now() + 4000;
		await Promise.all(
			[1, 2, 3].map(async () => {
				while (performance.now() < untilMs) if ((await login()).status === 200) done++;
			}),
		);
		const capacity = done / 4;

		const seconds = full ? 60 : 6;
		const [logins, checks, profiles] = await Promise.all([
			flood(capacity * 10, seconds, login),
			flood(50, seconds, () => client.send(`${server.url}/protected`, { token })),
			flood(50, seconds, () => client.send(`${server.url}/me`, { token })),
		]);
		const good = logins.filter(({ status }) => status === 200);
		const shed = logins.filter(({ status }) => status === 503);
		const goodput = good.length / seconds;
		progress(
			`capacity ${capacity.toFixed(1)}/s; ${goodput.toFixed(1)}/s at ten times that; shed p50 ${quantile(shed, 0.5).toFixed(0)} ms, p99 ${quantile(shed, 0.99).toFixed(0)} ms; ` +
				`protected p99 ${quantile(checks, 0.99).toFixed(0)} ms, me p99 ${quantile(profiles, 0.99).toFixed(0)} ms`,
		);
		t.ok(goodput >= capacity * 0.8, "good logins: at least 80 % of the capacity");
		t.equal(good.length + shed.length, logins.length, "every other login was refused with 503, none broke");
		t.ok(quantile(shed, 0.99) < 100, "within 100 ms");
		for (const [name, answers] of Object.entries({ protected: checks, me: profiles })) {
			const others = answers.filter(({ status }) => status !== 200);
			t.strictSame(others, [], `${name}: none was refused`);
			t.ok(quantile(answers, 0.99) < 100, `${name}: p99 under 100 ms`);
		}
		t.notMatch(server.stdout(), /overloaded/, "passwords are bounded before the process is");
		t.equal((await login()).status, 200, "and then it is as before");
	},
);

t.test(
	"Z28, fault 22: in 256 MB thousands of clients with large bodies are shed, and the process is not killed",
	needsRoot(),
	async (t) => {
		const bytes = 256 * 1024 * 1024;
		const group = limitMemory(t, bytes);
		if (!group) {
			t.plan(0, "needs a control group for memory, and none can be made here");
			return;
		}
		const server = await startUnder(t, group.enter, { LOGIN_LIMITS: "off" });
		const token = await server.tokenFor("root");
		const client = createClient();
		t.teardown(client.close);
		// The connection of a gateway, which is there before.
		await client.send(`${server.url}/protected`, { token });

		const program = fileURLToPath(new URL("support/attack.ts", import.meta.url));
		const attack = start(t, "prlimit", ["--nofile=8192", process.execPath, program, server.url, "6000"], {});
		// One at a time, over that connection.
		const checks: Outcome[] = [];
		const endMs = performance.now() + (full ? 60_000 : 15_000);
		while (performance.now() < endMs) {
			checks.push(...(await flood(5, 0.2, () => client.send(`${server.url}/protected`, { token }))));
			await sleep(100);
		}
		attack.signal("SIGTERM");
		const { stdout } = await attack.ended;
		progress(
			`${stdout.trim()}, at most ${(group.peak() / 1e6).toFixed(0)} MB; protected p99 ${quantile(checks, 0.99).toFixed(0)} ms`,
		);
		t.equal(server.child.exitCode ?? server.child.signalCode, null, "it runs");
		t.match(stdout, /"503":\d/, "most of them were refused");
		t.ok(
			checks.every(({ status }) => status === 200),
			"who had a connection was served all the time",
		);
		await until(
			"a login works again",
			async () => (await server.login("root").then(({ status }) => status, broke)) === 200,
			{ seconds: 15, everyMs: 50 },
		);
		t.ok(group.peak() < bytes, "and it never had all of its memory");
		t.notMatch(server.stdout(), /"level":60/);
	},
);

t.test(
	"Z28: in a container of 128 MB it logs people in, with the image's health check beside it",
	needsRoot(),
	async (t) => {
		const bytes = 128 * 1024 * 1024;
		const group = limitMemory(t, bytes);
		if (!group) {
			t.plan(0, "needs a control group for memory, and none can be made here");
			return;
		}
		const server = await startUnder(t, group.enter, { LOGIN_LIMITS: "off", HASH_THREADS: "1" });
		const [enter = "", ...words] = group.enter;
		const check = `fetch("${server.url}/livez").then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))`;
		// Memory is looked at ten times a second, and what holds three times counts.
		for (let turn = 0; turn < 20; turn++) {
			t.equal((await server.login("root")).status, 200);
			if (turn % 5 === 0)
				t.equal((await start(t, enter, [...words, process.execPath, "-e", check], {}).ended).code, 0, "healthy");
			await sleep(100);
		}
		progress(`at most ${(group.peak() / 1e6).toFixed(0)} MB`);
		t.ok(group.peak() < bytes);
	},
);

t.test(
	"fault 19: bodies that are too deep, too long or have too many members are refused before they cost anything",
	async (t) => {
		const server = await startUnder(t, ["env"], { LOGIN_LIMITS: "off" });
		const client = createClient();
		t.teardown(client.close);
		const token = await server.tokenFor("root");
		const json = { "content-type": "application/json" };
		const form = { "content-type": "application/x-www-form-urlencoded" };
		const many = (count: number, join: string, one: (index: number) => string) =>
			Array.from({ length: count }, (_, index) => one(index)).join(join);
		const hostile: [what: string, headers: Record<string, string>, body: string, status: number][] = [
			["1 MB of nested JSON", json, "[".repeat(500_000) + "]".repeat(500_000), 413],
			["16 KB of nested JSON", json, "[".repeat(8000) + "]".repeat(8000), 400],
			["10,000 members", json, `{${many(10_000, ",", (index) => `"k${index}":1`)}}`, 413],
			["1,500 members", json, `{${many(1500, ",", (index) => `"k${index}":1`)}}`, 400],
			["10,000 fields", form, many(10_000, "&", (index) => `k${index}=1`), 413],
			["3,000 fields", form, many(3000, "&", (index) => `${index}=`), 413],
		];
		const post = async (headers: Record<string, string>, body: string) => {
			const answer = await fetch(`${server.url}/login`, { method: "POST", headers, body });
			await answer.text();
			return { status: answer.status };
		};
		for (const [what, headers, body, status] of hostile) t.same(await post(headers, body), { status }, what);
		const [attacks, checks] = await Promise.all([
			Promise.all(hostile.map(([, headers, body]) => flood(30, full ? 30 : 5, () => post(headers, body)))),
			flood(50, full ? 30 : 5, () => client.send(`${server.url}/protected`, { token })),
		]);
		progress(`${attacks.flat().length} of them; protected p99 meanwhile ${quantile(checks, 0.99).toFixed(0)} ms`);
		t.ok(checks.every(({ status }) => status === 200));
		t.ok(quantile(checks, 0.99) < 100, "p99 of /protected under 100 ms");
		t.same(
			[...new Set(attacks.flat().map(({ status }) => status))].filter(
				(status) => typeof status === "number" && status >= 500,
			),
			[],
			"none is a fault of the service",
		);
		t.equal((await server.login("root")).status, 200);
	},
);

t.test(
	"fault 23: with both cores taken by others it is slower, and nothing fails; LIVE answers within a second",
	async (t) => {
		const server = await startUnder(t, ["env"], { LOGIN_LIMITS: "off" });
		const client = createClient();
		t.teardown(client.close);
		const token = await server.tokenFor("root");
		for (let core = 0; core < availableParallelism(); core++) start(t, process.execPath, ["-e", "for (;;);"], {});
		const seconds = full ? 60 : 10;
		const [probes, checks, logins] = await Promise.all([
			flood(5, seconds, () => client.send(`${server.url}/livez`)),
			flood(50, seconds, () => client.send(`${server.url}/protected`, { token })),
			flood(1, seconds, () => client.send(`${server.url}/login`, { fields })),
		]);
		progress(
			`livez max ${quantile(probes, 1).toFixed(0)} ms, protected p99 ${quantile(checks, 0.99).toFixed(0)} ms, login max ${quantile(logins, 1).toFixed(0)} ms`,
		);
		for (const answer of [...probes, ...checks, ...logins])
			if (answer.status !== 200) t.fail(`an answer was ${answer.status}`);
		t.ok(quantile(probes, 1) < 1000, "every probe within a second");
	},
);
