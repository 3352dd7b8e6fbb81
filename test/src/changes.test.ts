/** How a process follows the store, and what it does when it cannot. After a freeze: changes-frozen.test.ts. */
import t from "tap";
import { follow } from "../support/changes.ts";

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
