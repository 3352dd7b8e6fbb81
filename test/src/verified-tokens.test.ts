/** The memory of verified tokens by itself; what it must not change for who sends them: test/plugins/jwt-memory.test.ts. */
import t from "tap";
import type { Principal } from "../../src/principal.ts";
import { createVerifiedTokens } from "../../src/verified-tokens.ts";

const named = (id: string) => ({ id }) as Principal;
/** Tokens that end alike have the same number. */
const alike = ["first", "second", "third"].map((name) => `${name}.payload.signature`);
const [first, second, third] = alike as [string, string, string];

t.test("tokens with the same number are told apart by their text", async (t) => {
	const memory = createVerifiedTokens();
	t.equal(memory.get(first), undefined);
	memory.set(first, named("first"));
	t.equal(memory.get(second), undefined, "one that was not verified is not known by the number of another");
	memory.set(second, named("second"));
	memory.set(third, named("third"));
	t.strictSame(
		alike.map((token) => memory.get(token)?.id),
		["first", "second", "third"],
	);
	memory.set(second, named("again"));
	t.strictSame(
		alike.map((token) => memory.get(token)?.id),
		["first", "again", "third"],
	);
});

t.test("one that goes takes no other with it", async (t) => {
	const memory = createVerifiedTokens();
	for (const token of alike) memory.set(token, named(token));
	memory.delete(third);
	t.strictSame([memory.get(first)?.id, memory.get(second)?.id, memory.get(third)], [first, second, undefined]);
	memory.delete(first);
	t.equal(memory.get(first), undefined);
	memory.set(second, named("verified again"));
	t.equal(memory.get(second)?.id, "verified again", "one whose neighbour went is at least verified again");
	memory.clear();
	t.strictSame(
		alike.map((token) => memory.get(token)),
		[undefined, undefined, undefined],
	);
});

t.test("a text of any letters and any length is a token like another", async (t) => {
	const memory = createVerifiedTokens();
	const texts = [
		"x",
		"abc",
		"\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
		"\ud800 alone",
		"\u0141BC.DEF.GHIJKLM",
		"ABC.DEF.GHIJKLM",
	];
	for (const text of texts) {
		t.equal(memory.get(text), undefined, JSON.stringify(text));
		memory.set(text, named(text));
	}
	t.equal(memory.get(""), undefined);
	for (const text of texts) t.equal(memory.get(text)?.id, text, JSON.stringify(text));
});
