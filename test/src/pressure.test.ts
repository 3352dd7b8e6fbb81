/** When a process is overloaded, and what it refuses then (row Z15, faults 19 and 22: the mechanism). */
import { readFileSync } from "node:fs";
import { pino } from "pino";
import t, { type Test } from "tap";
import { collectGarbage, type Load, openPressure } from "../../src/pressure.ts";
import { form, goodPassword, testApp } from "../support/app.ts";
import { until } from "../support/until.ts";

const calm: Load = { turnMs: 1, memory: 0.3 };
const slow: Load = { turnMs: 250, memory: 0.3 };
const stuck: Load = { turnMs: 600, memory: 0.3 };

/** Keeps the event loop busy. */
function pause(milliseconds: number): void {
	const endMs = performance.now() + milliseconds;
	while (performance.now() < endMs);
}

/** A watch that sees only what the test shows it, ten times a second. */
function watch(t: Test) {
	const lines: string[] = [];
	const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
	const collected: number[] = [];
	let nowMs = 0;
	const look = () => new Promise<Load>(() => {});
	const pressure = openPressure({ log, look, collect: () => void collected.push(nowMs) });
	t.teardown(pressure.close);
	return {
		pressure,
		lines,
		collected,
		see(load: Load, times = 1) {
			for (let time = 0; time < times; time++) {
				nowMs += 100;
				pressure.note(load, nowMs);
			}
			return pressure.stats().level;
		},
	};
}

t.test("one long pause does not count: a garbage collection, or a process that was stopped for a minute", async (t) => {
	const { see, lines } = watch(t);
	see(calm, 20);
	t.equal(see({ turnMs: 60_000, memory: 0.3 }), 0);
	t.equal(see(calm), 0);
	t.equal(see(stuck, 2), 0, "nor do two");
	t.equal(see(calm, 50), 0);
	t.same(lines, []);
});

t.test(
	"what lasts raises the level, to what has held all the time, and the level falls when it is calm for 3 s",
	async (t) => {
		const { see, lines, pressure } = watch(t);
		t.equal(see(slow, 2), 0);
		t.equal(see(stuck), 1, "250 ms have held three times, 600 ms have not");
		t.equal(see(stuck, 2), 2);
		t.equal(see(calm, 29), 2);
		t.equal(see(slow), 1, "not calm, but less than level 2 for 3 s");
		t.equal(see(calm, 30), 1, "and from the start again");
		t.equal(see(calm, 2), 0);
		t.equal(lines.length, 4, "a line for each change, not for each request");
		t.match(pressure.stats(), { level: 0, shed: { first: 0, rest: 0, connections: 0 } });
	},
);

t.test(
	"what helps a little is not calm: a flood is let in for a moment once in a minute, and not all the time",
	async (t) => {
		const { see, lines } = watch(t);
		const minutes = 10;
		for (let minute = 0; minute < minutes; minute++) {
			t.equal(see(slow, 3), 1);
			t.equal(see({ turnMs: 90, memory: 0.3 }, 599), 1, "refusing helps a little");
			t.equal(see({ turnMs: 90, memory: 0.3 }), 0, "and after a minute it is tried without");
		}
		t.equal(lines.length, 2 * minutes);
	},
);

t.test("a level ends that is no longer right, whatever the process has to do besides", async (t) => {
	for (const turnMs of [1, 49, 50, 55, 199]) {
		const { see } = watch(t);
		t.equal(see(stuck, 3), 2);
		t.equal(see({ turnMs, memory: 0.3 }, 29), 2);
		t.ok(see({ turnMs, memory: 0.3 }, 2) < 2, `turns of ${turnMs} ms: after 3 s only what goes first is refused`);
		t.equal(see({ turnMs, memory: 0.3 }, 600), 0, "and after a minute nothing");
		t.equal(see({ turnMs, memory: 0.3 }, 36_000), 0, "for good");
	}
	const { see } = watch(t);
	see(stuck, 3);
	t.equal(see({ turnMs: 499, memory: 0.3 }, 36_000), 1, "what is right for level 1 keeps level 1");
	for (let minute = 0; minute < 2; minute++) {
		see({ turnMs: 55, memory: 0.3 }, 298);
		see(stuck, 2);
		see({ turnMs: 55, memory: 0.3 }, 300);
	}
	t.equal(see(calm), 0, "two long pauses are no overload, neither before nor after");
});

t.test("memory counts like time", async (t) => {
	const { see } = watch(t);
	t.equal(see({ turnMs: 1, memory: 0.9 }, 3), 1);
	t.equal(see({ turnMs: 1, memory: 0.95 }, 3), 2);
	t.equal(see({ turnMs: 1, memory: 0.7 }, 32), 0);
});

t.test(
	"memory that is in use keeps no level up: garbage is collected first, and what is left then is calm",
	async (t) => {
		const { see, collected } = watch(t);
		t.equal(see({ turnMs: 1, memory: 0.95 }, 3), 2);
		t.same(collected, [300], "at once");
		t.equal(see({ turnMs: 1, memory: 0.81 }, 29), 2);
		t.equal(see({ turnMs: 1, memory: 0.81 }, 1), 1);
		t.equal(see({ turnMs: 1, memory: 0.81 }, 1), 0, "calm for 3 s");
		t.equal(see({ turnMs: 1, memory: 0.87 }, 36_000), 0);
		t.same(collected, [300], "and no garbage is collected for nothing");

		see({ turnMs: 1, memory: 0.9 }, 3);
		t.equal(see({ turnMs: 1, memory: 0.87 }, 590), 1, "just below the limit it may rise again at once");
		t.equal(see({ turnMs: 1, memory: 0.87 }, 20), 0, "so that takes a minute");
		t.equal(collected.length, 5, "with a collection at once and after 5, 10 and 20 s");

		see({ turnMs: 1, memory: 0.9 }, 3);
		t.equal(see({ turnMs: 1, memory: 0.9 }, 36_000), 1, "what is too much stays too much");
		const inAnHour = collected.length - 5;
		t.ok(inAnHour <= 65, `and stops the process once in a minute at most: ${inAnHour} times in an hour`);
	},
);

t.test("a long collection is no turn of the event loop that took long", async (t) => {
	let collected = false;
	const pressure = openPressure({
		log: pino({ level: "silent" }),
		look: async () => ({ turnMs: 1, memory: 0.9 }),
		collect: () => {
			pause(800);
			collected = true;
		},
	});
	t.teardown(pressure.close);
	await until("garbage is collected", () => collected);
	// What has come meanwhile.
	for (let request = 0; request < 1000; request++) pressure.enter();
	t.equal(pressure.stats().level, 1);
});

t.test("a real event loop that is kept busy is noticed, and noticed to be free again", async (t) => {
	const pressure = openPressure({ log: pino({ level: "silent" }) });
	t.teardown(pressure.close);
	// What takes a quarter of a second in every turn, as thousands of requests at once would.
	const endMs = performance.now() + 20_000;
	while (pressure.stats().level === 0 && performance.now() < endMs) {
		await new Promise((resolve) => setImmediate(resolve));
		const until = performance.now() + 260;
		while (performance.now() < until);
	}
	t.equal(pressure.stats().level, 1);
	t.ok(pressure.stats().turnMs >= 200);
	const { promise, resolve } = Promise.withResolvers<void>();
	const timer = setInterval(() => pressure.stats().level === 0 && resolve(), 50);
	await promise;
	clearInterval(timer);
});

t.test(
	"a turn that does not end, because there is always one more request, is noticed in the middle of it",
	async (t) => {
		const { pressure } = watch(t);
		const requests = (count: number) => {
			for (let request = 0; request < count; request++) pressure.enter();
		};
		requests(10_000);
		t.equal(pressure.stats().level, 0, "many requests in no time are no overload");
		pause(400);
		requests(700);
		t.equal(pressure.stats().level, 0, "nor are those that came while it stood still");
		requests(300);
		t.equal(pressure.stats().level, 1);
	},
);

t.test(
	"Z28: what is collected goes back to the kernel at once",
	process.platform === "linux" ? {} : { skip: "needs Linux" },
	async (t) => {
		const residentMb = () => {
			const [, kilobytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
			return Number(kilobytes) / 1000;
		};
		collectGarbage();
		const beforeMb = residentMb();
		let rows: object[] = Array.from({ length: 500_000 }, (_, index) => ({ index, pair: [index, index] }));
		const filledMb = residentMb();
		t.ok(filledMb > beforeMb + 30, `${rows.length} rows are kept`);
		rows = [];
		collectGarbage();
		t.ok(residentMb() < (beforeMb + filledMb) / 2, `${beforeMb}, ${filledMb}, then ${residentMb()} MB`);
	},
);

t.test("Z15: refused are logins and refreshes first, then the rest, and probes and verification never", async (t) => {
	const { app, get, login, logged, services, tokenFor } = await testApp(t);
	const token = await tokenFor("root");
	const { pressure } = services;
	// From here on it sees only what it is shown.
	pressure.close();
	const post = (url: string, fields: Record<string, string>) => app.inject({ method: "POST", url, ...form(fields) });
	const overload = (load: Load) => {
		for (let time = 0; time < 3; time++) pressure.note(load, 0);
	};
	const first = () => ({
		login: login("root"),
		refresh: post("/refresh", { refresh_token: "x" }),
		reauthenticate: post("/reauthenticate", { password: goodPassword }),
		password: post("/password", { current_password: "x", new_password: "y" }),
	});
	const rest = () => ({
		me: get("/me", token),
		sessions: get("/sessions", token),
		logout: app.inject({ method: "POST", url: "/logout" }),
		"what is not there": get("/nothing"),
	});
	const never = () => ({
		livez: get("/livez"),
		startupz: get("/startupz"),
		readyz: get("/readyz"),
		keys: get("/.well-known/jwks.json"),
		metadata: get("/.well-known/oauth-authorization-server"),
		protected: get("/protected", token),
	});
	const check = async (
		routes: ReturnType<typeof first | typeof rest | typeof never>,
		refused: boolean,
		when: string,
	) => {
		for (const [name, answer] of Object.entries(routes)) {
			const { statusCode, headers, body } = await answer;
			t.equal(/"code":"OVERLOADED"/.test(body), refused, `${when}: ${name}`);
			if (refused) t.match({ statusCode, headers }, { statusCode: 503, headers: { "retry-after": "5" } }, name);
		}
	};
	const { work } = services.passwords.stats();
	await check(rest(), false, "calm");
	overload(slow);
	await check(first(), true, "level 1");
	await check(rest(), false, "level 1");
	await check(never(), false, "level 1");
	overload(stuck);
	await check(first(), true, "level 2");
	await check(rest(), true, "level 2");
	await check(never(), false, "level 2");
	t.equal((await get("/protected")).statusCode, 401, "refusals go on as well");
	t.equal((await get("/readyz")).statusCode, 200, "another replica would not be better off");
	t.same(services.passwords.stats().work, work, "no hash was spent on what was refused");
	t.same(pressure.stats().shed, { first: 8, rest: 4, connections: 0 }, "they are counted");
	t.equal(logged.filter(({ code }) => code === "OVERLOADED").length, 0, "and not logged one by one");
	pressure.note(calm, 0);
	pressure.note(calm, 3000);
	await check(first(), false, "calm again");
});
