/** What a process does that was frozen, and may have missed changes: it holds its requests until it has asked. */
import t from "tap";
import { follow, settle } from "../support/changes.ts";

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
