/** How a process follows the store, and what it does when it cannot. Timers and the monotonic clock are the test's. */
import { mock } from "node:test";
import { pino } from "pino";
import t from "tap";
import { createChanges } from "../../src/changes.ts";
import type { ChangeTopic } from "../../src/store/schema.ts";

/** A store that answers, fails or keeps silent as told, and a follower over it. */
function follow(t: { teardown: (end: () => unknown) => void }, maxStalenessSeconds = 300) {
	mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
	let now = 1_000_000;
	const versions: Record<ChangeTopic, number> = { accounts: 0, keys: 0 };
	const loaded: ChangeTopic[] = [];
	const lines: string[] = [];
	const store = {
		questions: 0,
		/** What the next questions end with. */
		answer: async () => ({ ...versions }),
		versions() {
			store.questions++;
			return store.answer();
		},
	};
	const load = (topic: ChangeTopic) => async () => {
		loaded.push(topic);
	};
	const reload = { accounts: load("accounts"), keys: load("keys") };
	const log = pino({ level: "trace" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
	const changes = createChanges({ store, reload, maxStalenessSeconds, log, nowMs: () => now });
	const gates: ((answer: Record<ChangeTopic, number>) => void)[] = [];
	t.teardown(async () => {
		for (const open of gates) open({ ...versions });
		await changes.close();
		mock.timers.reset();
	});
	/** Time goes by as it does for a process that runs. */
	const pass = async (milliseconds: number) => {
		for (let left = milliseconds; left > 0; left -= 250) {
			now += Math.min(250, left);
			mock.timers.tick(Math.min(250, left));
			await settle();
		}
	};
	/** Time goes by as it does for a process that is stopped: no timer fires. */
	const freeze = (milliseconds: number) => {
		now += milliseconds;
	};
	const fail = () => {
		store.answer = () => Promise.reject(new Error("no store"));
	};
	const heal = () => {
		store.answer = async () => ({ ...versions });
	};
	/** The next questions stay without an answer until the function that this returns gives them one. */
	const silence = () => {
		const { promise, resolve } = Promise.withResolvers<Record<ChangeTopic, number>>();
		store.answer = () => promise;
		gates.push(resolve);
		return resolve;
	};
	return { changes, store, versions, loaded, lines, reload, pass, freeze, fail, heal, silence };
}

/** Lets every promise that can go on do so. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test("everything is loaded at the start, then only what has changed, within a second", async (t) => {
	const { changes, versions, loaded, store, pass } = follow(t);
	await changes.start();
	t.same(loaded.splice(0), ["accounts", "keys"]);
	await pass(3000);
	t.same(loaded, [], "nothing changed");
	t.ok(store.questions >= 4, `${store.questions} questions in three seconds`);
	versions.accounts = 1;
	await pass(1000);
	t.same(loaded.splice(0), ["accounts"]);
	versions.keys = 7;
	await changes.poll();
	t.same(loaded.splice(0), ["keys"], "at once where it is asked for");
	await changes.close();
	const asked = store.questions;
	await pass(3000);
	t.equal(store.questions, asked, "none after the end");
});

t.test("a first load that fails stops the start", async (t) => {
	const { changes, fail, heal, reload } = follow(t);
	fail();
	await t.rejects(changes.start(), { message: "no store" });
	heal();
	reload.keys = () => Promise.reject(new Error("a weak key"));
	await t.rejects(changes.start(), { message: "a weak key" });
});

t.test("a load that fails is tried again: its version was not learned", async (t) => {
	const { changes, versions, loaded, reload, pass } = follow(t);
	await changes.start();
	loaded.length = 0;
	const { accounts } = reload;
	reload.accounts = () => Promise.reject(new Error("half way"));
	versions.accounts = 1;
	await pass(1000);
	t.notOk(changes.reachable());
	reload.accounts = accounts;
	await pass(1000);
	t.same(loaded, ["accounts"]);
	t.ok(changes.reachable());
});

t.test("an outage and its end are logged once each", async (t) => {
	const { changes, fail, heal, lines, pass } = follow(t);
	await changes.start();
	fail();
	await pass(10_000);
	t.same(lines.splice(0), ["the store does not answer"]);
	heal();
	await pass(3000);
	t.same(lines, ["the store answers again"]);
});

t.test("calls that overlap share one question", async (t) => {
	const { changes, store, versions, silence } = follow(t);
	await changes.start();
	const answer = silence();
	const before = store.questions;
	const polls = [changes.poll(), changes.poll(), changes.poll()];
	answer(versions);
	await Promise.all(polls);
	t.equal(store.questions - before, 1);
});

for (const seconds of [300, 10, 0])
	t.test(
		`an unreachable store is borne for ${seconds} seconds after the last good answer, then no token is accepted`,
		async (t) => {
			const { changes, fail, heal, pass } = follow(t, seconds);
			await changes.start();
			t.same([changes.fresh(), changes.reachable()], [true, true]);
			fail();
			await pass(1000);
			t.same([changes.fresh(), changes.reachable()], [seconds > 0, false], "after the first failure");
			if (seconds > 0) {
				await pass((seconds - 2) * 1000);
				t.ok(changes.fresh(), "just before the end");
			}
			await pass(2000);
			t.notOk(changes.fresh(), "at the end");
			heal();
			await pass(1000);
			t.same([changes.fresh(), changes.reachable()], [true, true], "with the next good answer");
		},
	);

t.test("a store that keeps silent is no store either, although nothing has failed", async (t) => {
	const { changes, pass, silence } = follow(t, 0);
	await changes.start();
	silence();
	await pass(2000);
	t.ok(changes.fresh(), "within what a slow answer may take");
	await pass(2000);
	t.same([changes.fresh(), changes.reachable()], [false, false]);
});

t.test("an answer is as old as its question", async (t) => {
	const { changes, versions, pass, fail, silence } = follow(t, 10);
	await changes.start();
	const answer = silence();
	await pass(6000);
	fail();
	answer(versions);
	await pass(6000);
	t.notOk(changes.fresh(), "asked 12 seconds ago, answered 6 seconds ago");
});

t.test("a process that was frozen holds until it has asked, and a request is what wakes it as well", async (t) => {
	const { changes, versions, loaded, lines, freeze, silence } = follow(t);
	await changes.start();
	loaded.length = 0;
	freeze(2000);
	t.equal(changes.hold(), undefined, "two seconds are no freeze");
	freeze(1);
	versions.accounts = 1;
	const answer = silence();
	const held = changes.hold();
	t.ok(held instanceof Promise, "more than two seconds are");
	t.equal(changes.hold(), held, "every request waits for the same");
	let over = false;
	void held?.then(() => {
		over = true;
	});
	await settle();
	t.notOk(over, "while the store has not answered");
	answer({ ...versions });
	await held;
	t.same(loaded, ["accounts"], "what it missed is loaded when it goes on");
	t.equal(changes.hold(), undefined, "nobody waits any more");
	t.same(lines, ["this process was frozen; catching up"]);
});

t.test("a question from before the freeze does not count: its answer is as old", async (t) => {
	const { changes, versions, loaded, freeze, heal, silence } = follow(t);
	await changes.start();
	loaded.length = 0;
	const answer = silence();
	void changes.poll();
	const old = { ...versions };
	freeze(60_000);
	versions.accounts = 1;
	const held = changes.hold();
	heal();
	answer(old);
	await held;
	t.same(loaded, ["accounts"], "a new question was asked before anybody went on");
});

for (const [seconds, fresh] of [
	[300, true],
	[0, false],
] as const)
	t.test(`a frozen process holds for a second at most; then a staleness of ${seconds} seconds decides`, async (t) => {
		const { changes, freeze, pass, silence } = follow(t, seconds);
		await changes.start();
		freeze(5000);
		silence();
		const held = changes.hold();
		let over = false;
		void held?.then(() => {
			over = true;
		});
		await pass(999);
		t.notOk(over, "not after 999 ms");
		await pass(1);
		t.ok(over, "after a second");
		t.equal(changes.fresh(), fresh, `with ${seconds} s of staleness allowed`);
		t.equal(changes.hold(), undefined, "the next request does not wait again");
	});

t.test("a freeze that no request meets is noticed by the timer", async (t) => {
	const { changes, loaded, versions, freeze, pass, lines } = follow(t);
	await changes.start();
	loaded.length = 0;
	versions.keys = 1;
	freeze(60_000);
	await pass(500);
	t.same(loaded, ["keys"]);
	t.same(lines, ["this process was frozen; catching up"]);
});
