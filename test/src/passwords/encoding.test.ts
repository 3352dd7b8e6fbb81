/** What a password becomes before bcrypt sees it: rows L09, L12 and the 72 bytes. */
import t from "tap";
import { encodePassword, normalizePassword, readCost } from "../../../src/passwords/encoding.ts";

const refused = { code: "INVALID_PASSWORD", statusCode: 400 };

t.test("L09: NUL, control characters and broken Unicode are refused wherever they stand", async (t) => {
	for (const bad of ["\0", "\x01", "\n", "\x1f", "\x7f", "\x85", "\ud800", "\udc00"])
		for (const password of [bad, `${bad}pre`, `pre${bad}pre`, `pre${bad}`])
			t.throws(() => normalizePassword(password), refused, JSON.stringify(password));
	t.throws(() => normalizePassword(""), refused, "empty");
	t.equal(normalizePassword("\ufffd"), "\ufffd", "U+FFFD itself is a letter");
});

t.test("L12: composed and decomposed letters are one password, and so are all spaces", async (t) => {
	t.equal(normalizePassword("e\u0301t\u00e9"), "\u00e9t\u00e9");
	for (const space of ["\u00a0", "\u2003", "\u202f", "\u3000"]) t.equal(normalizePassword(`a${space}b`), "a b");
});

t.test("L12: nothing is trimmed, folded or widened", async (t) => {
	for (const password of ["  two spaces  ", "CaSe", "\uff21", "\ufb01", "a  b"])
		t.equal(normalizePassword(password), password);
});

t.test("1,024 bytes after normalisation are the limit", async (t) => {
	t.equal(normalizePassword("a".repeat(1024)).length, 1024);
	t.throws(() => normalizePassword("a".repeat(1025)), refused);
	t.equal(normalizePassword("e\u0301".repeat(512)).length, 512, "1,536 bytes as typed, 1,024 as composed");
	t.throws(() => normalizePassword("\u{1f600}".repeat(257)), refused);
});

t.test("H13: what is over 3,072 bytes as typed is refused before NFC, whose time grows with its square", async (t) => {
	const calls = t.capture(String.prototype, "normalize", String.prototype.normalize);
	t.equal(normalizePassword("\u3000".repeat(1024)), " ".repeat(1024), "3,072 bytes can become 1,024");
	t.equal(calls().length, 1, "so that a call would be seen");
	for (const [what, password] of [
		["3,073 bytes", `${"\u3000".repeat(1024)}a`],
		["3,075 bytes", "\u3000".repeat(1025)],
		["marks in the wrong order", "\u0315".repeat(4080) + "\u0316".repeat(4080)],
		["16 KB", "a".repeat(16_384)],
	] as const)
		t.throws(() => normalizePassword(password), refused, what);
	t.strictSame(calls(), [], "none was normalised");
});

t.test("up to 72 bytes bcrypt gets the password itself", async (t) => {
	for (const password of ["a", "a".repeat(72), "\u00e9".repeat(36)])
		t.same(encodePassword(password), { input: password, scheme: "bcrypt" });
});

t.test("past 72 bytes bcrypt gets a digest of every byte", async (t) => {
	const long = encodePassword("a".repeat(73));
	t.equal(long.scheme, "bcrypt-hmac-sha256");
	t.equal(long.input, "z2pozXKcDRRgjfdTkUB72ecbqztXD1pvVLHfuIWnumo=", "the same for ever: hashes are stored over it");
	t.not(long.input, encodePassword("a".repeat(74)).input);
	t.equal(encodePassword("\u00e9".repeat(37)).scheme, "bcrypt-hmac-sha256");
});

t.test("the cost is read only from what bcrypt can compare", async (t) => {
	const rest = "XUo65k3UjZ2N/dpBS.l0dOkwA.kpCoHg5DeZmnW46P7Fb9FMsPa8.";
	for (const prefix of ["2a", "2b", "2y"]) t.equal(readCost(`$${prefix}$10$${rest}`), 10, prefix);
	t.equal(readCost(`$2b$04$${rest}`), 4);
	t.equal(readCost(`$2b$14$${rest}`), 14);
	for (const [hash, why] of [
		[`$2b$15$${rest}`, "cost over 14"],
		[`$2b$31$${rest}`, "cost over 14"],
		[`$2b$03$${rest}`, "a cost that bcrypt does not know"],
		[`$2x$10$${rest}`, "2x"],
		[`$1$10$${rest}`, "md5"],
		[`$2b$10$${rest.slice(1)}`, "too short"],
		[`$2b$10$${rest}.`, "too long"],
		[`$2b$10$${rest}\n`, "line end"],
		[`$2b$10$${rest.slice(0, -1)}/`, "stray bits at the end"],
		[`$2b$10$${rest.slice(0, 21)}/${rest.slice(22)}`, "stray bits in the salt"],
		["", "empty"],
	] as const)
		t.equal(readCost(hash), undefined, why);
});
