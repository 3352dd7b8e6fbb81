/** The queue in front of the threads: who waits, who is refused, who leaves. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import t, { type Test } from "tap";
import { openPool } from "../../../src/passwords/pool.ts";

const busy = { code: "BUSY", statusCode: 503 };

/** A pool that takes a hash for 0.1 s, so that it lets `maxWaitSeconds` / 0.1 hashes a thread stand before a new one. */
function testPool(t: Test, threads: number, maxWaitSeconds: number) {
	const pool = openPool({ threads, maxWaitSeconds, hashSeconds: 0.1 });
	t.teardown(pool.close);
	const verify = (work = 1, signal?: AbortSignal) =>
		pool.run("verify", { input: "wrong", stored: undefined, cost: 10 }, work, signal);
	return { pool, verify };
}

t.test("no thread starts before the first task", async (t) => {
	const { pool, verify } = testPool(t, 2, 60);
	t.match(pool.stats(), { waiting: 0, running: 0, meanSeconds: 0.1 });
	await verify();
	t.match(pool.stats(), { waiting: 0, running: 0, work: { verify: 1 } });
	t.not(pool.stats().meanSeconds, 0.1, "the mean learns");
});

for (const threads of [1, 2])
	t.test(`with ${threads} threads, who would wait too long is BUSY at once`, async (t) => {
		const { pool, verify } = testPool(t, threads, 0.35);
		// One thread: 0, 1, 2, 3 hashes stand before the four that come in, 0.4 s before the fifth.
		const admitted = threads * 3 + 1;
		const answers = Array.from({ length: admitted }, () => verify());
		t.match(pool.stats(), { running: threads, waiting: admitted - threads });
		await t.rejects(verify(), busy);
		await t.rejects(verify(), busy);
		t.equal((await Promise.all(answers)).length, admitted);
		t.equal(pool.stats().work.verify, admitted, "and spent nothing");
		t.match(await verify(), { value: false }, "later there is room again");
	});

t.test("what goes first has room where others have none, and overtakes them", async (t) => {
	const { pool, verify } = testPool(t, 1, 0.35);
	const order: string[] = [];
	const ask = (who: string, first = false) =>
		pool
			.run("verify", { input: "wrong", stored: undefined, cost: 10 }, 1, undefined, first)
			.then(() => order.push(who));
	const answers = [ask("running"), ask("one"), ask("two"), ask("three")];
	await t.rejects(verify(), busy, "strangers have filled the queue");
	pool.assertRoom(true);
	t.throws(() => pool.assertRoom(), busy);
	answers.push(ask("known one", true), ask("known two", true), ask("known three", true));
	await t.rejects(ask("known four", true), busy, "it is bounded all the same");
	await Promise.all(answers);
	t.same(order, ["running", "known one", "known two", "known three", "one", "two", "three"]);
});

t.test("as long as some go first, the others have every fourth turn", async (t) => {
	const { pool } = testPool(t, 1, 60);
	const order: string[] = [];
	const ask = (who: string, first: boolean) =>
		pool
			.run("verify", { input: "wrong", stored: undefined, cost: 10 }, 1, undefined, first)
			.then(() => order.push(who));
	const answers = [ask("running", false)];
	for (let count = 0; count < 9; count++) answers.push(ask("first", true), ask("other", false));
	await Promise.all(answers);
	t.same(
		order
			.slice(0, 13)
			.map((who) => who.slice(0, 1))
			.join(""),
		"rfffofffofffo",
	);
});

t.test("a dearer hash takes the room of several", async (t) => {
	const { verify } = testPool(t, 1, 0.35);
	const first = verify(4);
	await t.rejects(verify(), busy);
	await first;
});

t.test("a free thread takes a task whatever the mean says", async (t) => {
	const pool = openPool({ threads: 2, maxWaitSeconds: 2, hashSeconds: 1000 });
	t.teardown(pool.close);
	const task = { input: "wrong", stored: undefined, cost: 10 };
	const answers = [pool.run("verify", task, 1), pool.run("verify", task, 1)];
	await t.rejects(pool.run("verify", task, 1), busy);
	t.equal((await Promise.all(answers)).length, 2);
});

t.test("who leaves while waiting frees the place", async (t) => {
	const { pool, verify } = testPool(t, 1, 0.25);
	const leaver = new AbortController();
	const answers = [verify(), verify()];
	const left = verify(1, leaver.signal);
	await t.rejects(verify(), busy, "full");
	leaver.abort(new Error("the client hung up"));
	await t.rejects(left, { message: "the client hung up" });
	t.equal(pool.stats().waiting, 1);
	answers.push(verify());
	await Promise.all(answers);
	t.equal(pool.stats().work.verify, 3, "no work was spent on the leaver");
});

t.test("who has left already takes no place", async (t) => {
	const { pool, verify } = testPool(t, 1, 60);
	const reason = new Error("the client hung up");
	await t.rejects(verify(1, AbortSignal.abort(reason)), reason);
	t.match(pool.stats(), { waiting: 0, running: 0 });
});

t.test("who leaves while running does not end the thread", async (t) => {
	const { pool, verify } = testPool(t, 1, 60);
	await verify();
	const leaver = new AbortController();
	const left = verify(1, leaver.signal);
	const next = verify();
	leaver.abort(new Error("the client hung up"));
	await t.rejects(left, { message: "the client hung up" });
	t.match(pool.stats(), { running: 1, waiting: 1 }, "the thread is not free");
	await next;
	t.equal(pool.stats().work.verify, 3, "the work was done to its end");
});

t.test("tasks run first come, first served", async (t) => {
	const { verify } = testPool(t, 1, 60);
	const order: number[] = [];
	await Promise.all([1, 2, 3, 4].map((place) => verify().then(() => order.push(place))));
	t.same(order, [1, 2, 3, 4]);
});

t.test("a task that throws fails alone", async (t) => {
	const { pool, verify } = testPool(t, 1, 60);
	const task = { input: "x", cost: 99 };
	await t.rejects(pool.run("hash", task, 1), Error);
	await verify();
	t.match(pool.stats(), { running: 0, waiting: 0 });
});

t.test("closing refuses what waits and lets what runs finish", async (t) => {
	const { pool, verify } = testPool(t, 2, 60);
	const running = [verify(), verify()];
	const waiting = t.rejects(verify(), busy);
	await pool.close();
	await waiting;
	t.equal((await Promise.all(running)).length, 2);
	await t.rejects(verify(), busy, "and nothing comes after");
});

const skip = existsSync("/proc/self/task") ? false : "only Linux shows it";

t.test("threads run at low priority", { skip }, async (t) => {
	const { verify } = testPool(t, 1, 60);
	await verify();
	const nice = readdirSync("/proc/self/task").map((thread) => {
		const stat = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
		return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
	});
	const expected = Math.min(19, getPriority() + 10);
	t.equal(nice.filter((value) => value === expected).length, 1);
});
