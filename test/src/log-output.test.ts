/** Where the log's lines go when nobody takes them: the mechanism of row G06 and fault 29, without a process. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { openLogOutput } from "../../src/log-output.ts";

/** A reader that takes a text when the test says so, or fails. */
function reader() {
	const texts: string[] = [];
	const answers: ((error?: Error) => void)[] = [];
	const output = openLogOutput({
		put: (text, done) => {
			texts.push(text);
			answers.push(done);
		},
	});
	return { texts, output, answer: (error?: Error) => answers.shift()?.(error) };
}

t.test("the lines of one turn go together, and the next ones when those were taken", async (t) => {
	const { texts, output, answer } = reader();
	output.write("one\n");
	output.write("two\n");
	t.same(texts, [], "nobody waits for a write");
	await nextTurn();
	output.write("three\n");
	await nextTurn();
	t.same(texts, ["one\ntwo\n"]);
	answer();
	t.same(texts, ["one\ntwo\n", "three\n"]);
	answer();
	await nextTurn();
	t.equal(texts.length, 2, "and then there is nothing to write");
});

t.test("G06: a reader that has stopped costs a bounded memory; what was dropped is counted and said", async (t) => {
	const { texts, output, answer } = reader();
	const line = `${"x".repeat(1023)}\n`;
	output.write(line);
	await nextTurn();
	for (let index = 0; index < 5000; index++) output.write(line);
	await nextTurn();
	t.equal(texts.length, 1, "one text is on its way, and no more");
	answer();
	const lines = () => texts.join("").split("\n").filter(Boolean);
	t.equal(lines().length, 1 + 1024 + 1, "a megabyte has waited");
	t.match(JSON.parse(lines().at(-1) ?? ""), { level: 50, dropped: 5000 - 1024, msg: /dropped/, time: /T.*Z$/ });
	answer();
	output.write("again\n");
	await nextTurn();
	t.equal(texts.at(-1), "again\n", "and it goes on");
});

t.test("fault 29: what a full disk refuses is counted, and the next line begins on a line of its own", async (t) => {
	const { texts, output, answer } = reader();
	output.write("one\ntwo\n");
	await nextTurn();
	answer(new Error("ENOSPC"));
	await nextTurn();
	t.equal(texts.length, 1, "nothing is tried again by itself");
	output.write("three\n");
	await nextTurn();
	t.equal(texts[1], "\nthree\n", "the disk may have taken half a line");
	answer();
	t.match(JSON.parse(texts[2] ?? ""), { dropped: 2 });
});

t.test("flush calls back when all was taken, also after a failure", async (t) => {
	const { output, answer } = reader();
	let empty = 0;
	const done = () => {
		empty += 1;
	};
	output.flush(done);
	t.equal(empty, 1, "there was nothing");
	output.write("one\n");
	output.flush(done);
	t.equal(empty, 1);
	answer();
	t.equal(empty, 2);
	output.write("two\n");
	output.flush(done);
	answer(new Error("EPIPE"));
	t.equal(empty, 3, "a closed pipe will never take it");
});
