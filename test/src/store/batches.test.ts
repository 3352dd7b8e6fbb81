/** Questions that come at the same time, asked together. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { createBatches } from "../../../src/store/batches.ts";

/** A store that notes what it was asked, and answers each key with its double. */
function doubling(fault?: Error) {
	const asked: (readonly number[])[] = [];
	const double = createBatches<number, number>(async (keys) => {
		asked.push([...keys]);
		if (fault && asked.length === 1) throw fault;
		await nextTurn();
		return keys.map((key) => 2 * key);
	});
	return { double, asked };
}

t.test("what is asked in one turn of the event loop goes together, and each gets its own answer", async (t) => {
	const { double, asked } = doubling();
	const first = Promise.all([3, 1, 3].map(double));
	t.same(asked, [], "not before the turn is over");
	await nextTurn();
	const second = double(7);
	t.same(await first, [6, 2, 6], "one that comes twice is answered twice");
	t.equal(await second, 14);
	t.same(asked, [[3, 1, 3], [7]], "while an answer is awaited the next ones are asked");
});

t.test("a hundred at most go together", async (t) => {
	const { double, asked } = doubling();
	const keys = Array.from({ length: 250 }, (_, key) => key);
	t.same(
		await Promise.all(keys.map(double)),
		keys.map((key) => 2 * key),
	);
	t.same(
		asked.map(({ length }) => length),
		[100, 100, 50],
	);
});

t.test("a failure is everybody's who asked together, and nobody else's", async (t) => {
	const fault = new Error("away");
	const { double } = doubling(fault);
	const outcomes = await Promise.allSettled([double(1), double(2)]);
	t.same(
		outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason === fault),
		[true, true],
	);
	t.equal(await double(3), 6);
});
