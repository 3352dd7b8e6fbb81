/** Usernames: the one spelling of each, and what no account can be called. Rows L09 and H13. */
import t from "tap";
import { canonicalUsername } from "../../src/users/usernames.ts";

const refused = { code: "INVALID_USERNAME", statusCode: 400 };

t.test("every spelling of a name is one name", async (t) => {
	for (const name of ["zo\u00eb", "ZO\u00cb", "zoe\u0308", "\uff3ao\u00eb"])
		t.equal(canonicalUsername(name), "zo\u00eb", name);
	for (const name of ["ada.lovelace", "ada_1", "ada@example.org", "a+b-c"]) t.equal(canonicalUsername(name), name);
});

t.test("L09: what is no name is refused, and nothing is trimmed or dropped", async (t) => {
	for (const name of [
		"",
		" ada",
		"ada ",
		"a da",
		"ada\0",
		"\0",
		"\ud800",
		"a\ufffdb",
		"a/b",
		"a'b",
		"\u3000ada",
		"a\u200bb",
	])
		t.throws(() => canonicalUsername(name), refused, JSON.stringify(name));
});

t.test("64 letters are the limit, counted as code points of the one spelling", async (t) => {
	t.equal(canonicalUsername("A".repeat(64)), "a".repeat(64));
	t.equal(canonicalUsername("\u{10400}".repeat(64)), "\u{10428}".repeat(64), "128 UTF-16 units");
	for (const name of ["a".repeat(65), "\u{10400}".repeat(65), "e\u0308".repeat(65)])
		t.throws(() => canonicalUsername(name), refused, name);
});

t.test("H13: what is over 256 units as typed is refused before NFC, whose time grows with its square", async (t) => {
	const calls = t.capture(String.prototype, "normalize", String.prototype.normalize);
	// The longest way to write a letter: four units that become one.
	const letter = "\u03b1\u0313\u0300\u0345";
	t.equal(canonicalUsername(letter.repeat(64)), "\u1f82".repeat(64), "256 units can become 64");
	t.equal(calls().length, 1, "so that a call would be seen");
	for (const [what, name] of [
		["257 units", `${letter.repeat(64)}a`],
		["257 full-width units", "\uff41".repeat(257)],
		["marks in the wrong order", "\u0315".repeat(4080) + "\u0316".repeat(4080)],
	] as const)
		t.throws(() => canonicalUsername(name), refused, what);
	t.strictSame(calls(), [], "none was normalised");
});
