/** The memory of verified tokens by itself; what it must not change for who sends them: test/plugins/jwt-memory.test.ts. */
import t from "tap";
import type { Principal } from "../../src/principal.ts";
import { createVerifiedTokens } from "../../src/verified-tokens.ts";

const named = (id: string) => ({ id }) as Principal;

t.test("tokens with the same fingerprint are told apart by their text", async (t) => {
	const memory = createVerifiedTokens();
	// They end alike.
	const [first, second] = ["first.payload.signature", "second.payload.signature"] as const;
	t.equal(memory.get(first), undefined);
	memory.set(first, named("first"));
	t.equal(memory.get(first)?.id, "first");
	t.equal(memory.get(second), undefined, "one that was not verified is not taken for the other");
	memory.delete(second);
	t.equal(memory.get(first)?.id, "first", "and takes nothing with it");
	memory.set(second, named("second"));
	t.equal(memory.get(second)?.id, "second");
	t.equal(memory.get(first), undefined, "the one that came last is known");
	memory.delete(second);
	t.strictSame([memory.get(first), memory.get(second)], [undefined, undefined], "none that is forgotten comes back");
});

t.test("a text of any letters and any length is compared like another", async (t) => {
	const memory = createVerifiedTokens();
	const texts = ["x", "abc", "\u{1f600}\u{1f600}\u{1f600}\u{1f600}", "\ud800 alone", "\u0141BC.DEF", "ABC.DEF"];
	for (const text of texts) {
		t.equal(memory.get(text), undefined, JSON.stringify(text));
		memory.set(text, named(text));
		t.equal(memory.get(text)?.id, text, JSON.stringify(text));
	}
	t.equal(memory.get(""), undefined);
});

t.test("it holds 25,000 tokens; the least recently used makes room", async (t) => {
	const memory = createVerifiedTokens();
	const letters = (digit: string) => String.fromCharCode("A".charCodeAt(0) + Number.parseInt(digit, 16));
	/** No two with the same fingerprint: six letters of A to P before the last. */
	const token = (index: number) => `payload.${[...index.toString(16).padStart(6, "0")].map(letters).join("")}x`;
	const put = (index: number) => memory.set(token(index), named(String(index)));
	for (let index = 0; index < 25_000; index++) put(index);
	t.equal(memory.get(token(0))?.id, "0", "the first is there, and is used again");
	put(25_000);
	t.equal(memory.get(token(1)), undefined, "one more made one go, the one not used for longest");
	const known = Array.from({ length: 25_001 }, (_, index) => memory.get(token(index))?.id === String(index));
	t.equal(known.filter(Boolean).length, 25_000, "and no other");
	memory.clear();
	t.equal(memory.get(token(0)), undefined);
});
