/** How a process follows the store, and what it does when it cannot. After a freeze: changes-frozen.test.ts. */
import t from "tap";
import { follow, settle } from "../support/changes.ts";

t.test("everything is loaded at the start, then only what has changed, within a second", async (t) => {
	const { changes, versions, loaded, store, pass } = follow(t);
	await changes.start();
	t.same(loaded.splice(0), ["accounts", "keys", "revocations"]);
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

t.test(
	"fault 7: after a failure, and of another server, everything is loaded anew: its versions may be others",
	async (t) => {
		const { changes, store, loaded, loadedAnew, fail, heal, pass } = follow(t);
		const all = ["accounts", "keys", "revocations"];
		await changes.start();
		t.same(loaded.splice(0), all);
		loadedAnew.length = 0;
		store.server = "the second";
		await pass(1000);
		t.same(loadedAnew.splice(0), all, "another server, which no question has missed");
		fail();
		await pass(1000);
		heal();
		await pass(1000);
		t.same(loadedAnew.splice(0), all, "the same one after a failure: it may have lost its last writes");
		loaded.length = 0;
		await pass(3000);
		t.same(loaded, [], "and then only what changes");
	},
);

t.test("what could not be loaded of another server is loaded on, and not from the beginning again", async (t) => {
	const { changes, store, loaded, loadedAnew, reload, pass } = follow(t);
	await changes.start();
	const { keys } = reload;
	reload.keys = () => Promise.reject(new Error("half way"));
	store.server = "the second";
	await pass(1000);
	reload.keys = keys;
	for (const list of [loaded, loadedAnew]) list.length = 0;
	await pass(1000);
	t.same([loaded, loadedAnew], [["keys"], []]);
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

for (const [broken, other] of [
	["accounts", "keys"],
	["keys", "accounts"],
] as const)
	t.test(`where ${broken} cannot be loaded, ${other} are, in the same poll and in every later one`, async (t) => {
		const { changes, versions, loaded, lines, reload, pass } = follow(t);
		await changes.start();
		loaded.length = 0;
		const load = reload[broken];
		let tries = 0;
		reload[broken] = async () => {
			tries++;
			throw new Error("an unreadable row");
		};
		versions[broken] = 1;
		versions[other] = 1;
		await changes.poll();
		t.same([tries, loaded.splice(0)], [1, [other]], "one failed, the other was loaded");
		versions[other] = 2;
		await pass(1000);
		t.same(loaded.splice(0), [other], "later changes are heard of, too");
		t.ok(tries > 1, "what failed is tried again");
		t.same(lines.splice(0), ["cannot follow the store's changes"], "said once, and not that the store is down");
		reload[broken] = load;
		await pass(1000);
		t.same(loaded, [broken], "only what was missing is loaded");
		t.same(lines, ["the store's changes are followed again"]);
	});

t.test("an outage and its end are logged once each", async (t) => {
	const { changes, fail, heal, lines, pass } = follow(t);
	await changes.start();
	fail();
	await pass(10_000);
	t.same(lines.splice(0), ["cannot follow the store's changes"]);
	heal();
	await pass(3000);
	t.same(lines, ["the store's changes are followed again"]);
});

t.test("calls that meet a question under way share the next one, as its answer may be too old for them", async (t) => {
	const { changes, store, versions, loaded, silence, heal } = follow(t);
	await changes.start();
	loaded.length = 0;
	const answer = silence();
	const before = store.questions;
	const polls = [changes.poll(), changes.poll(), changes.poll()];
	const old = { ...versions };
	versions.revocations = 1;
	heal();
	answer(old);
	await Promise.all(polls);
	t.equal(store.questions - before, 2);
	t.same(loaded, ["revocations"]);
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

t.test("a wake-up asks at once, and a question that was too early is followed by another one", async (t) => {
	const { changes, versions, loaded, store, pass, silence, heal } = follow(t);
	await changes.start();
	await pass(100);
	loaded.length = 0;
	const before = store.questions;
	versions.revocations = 1;
	const asked = changes.wake();
	await settle();
	await asked;
	t.same([store.questions - before, loaded.splice(0)], [1, ["revocations"]], "no time has passed");

	const answer = silence();
	void changes.poll();
	const old = { ...versions };
	versions.revocations = 2;
	const woken = changes.wake();
	await pass(100);
	heal();
	answer(old);
	await woken;
	t.same(loaded, ["revocations"], "although the answer under way was from before");
});

t.test("a thousand wake-ups a second are fifty questions, and the last of them is heard", async (t) => {
	const { changes, versions, loaded, store, pass } = follow(t);
	await changes.start();
	loaded.length = 0;
	await pass(100);
	const before = store.questions;
	for (let ms = 0; ms < 1000; ms++) {
		versions.revocations++;
		void changes.wake();
		await pass(1);
	}
	await pass(25);
	const asked = store.questions - before;
	t.ok(asked >= 40 && asked <= 54, `${asked} questions`);
	const seen = loaded.length;
	await pass(400);
	t.equal(loaded.length, seen, "nothing was left to load");
});

t.test("how late a change was applied is measured by the store's clock", async (t) => {
	const { changes, versions, store, pass, fail } = follow(t);
	await changes.start();
	t.match(
		changes.stats(),
		{ ageMs: 0, lags: { revocations: { count: 0 } } },
		"what was there before the start is not late",
	);
	const now = (await store.news()).keys.nowMs;
	store.announcedMs = now - 120;
	versions.revocations = 1;
	await changes.poll();
	t.match(changes.stats().lags, { revocations: { count: 1, sum: 0.12 }, keys: { count: 0 } });
	versions.revocations = 2;
	await changes.poll();
	t.match(
		changes.stats().lags,
		{ revocations: { count: 1 } },
		"a version that came without a time of its own is not measured by the time before it",
	);
	fail();
	await pass(2000);
	t.ok(changes.stats().ageMs >= 1500, "what is known grows old");
});
