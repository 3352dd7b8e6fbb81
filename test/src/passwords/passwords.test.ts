/** Hashing and comparing through the pool: rows L02, L09 to L12, L20 and L29. */
import { existsSync, readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { openPasswords, type PasswordSettings, type StoredPassword } from "../../../src/passwords/passwords.ts";
import { decoy, hash, verify } from "../../../src/passwords/worker.ts";

/** Passwords at the lowest cost, and patient. */
function testPasswords(t: Test, overrides: Partial<PasswordSettings> = {}) {
	const passwords = openPasswords({
		cost: 10,
		threads: 2,
		maxWaitSeconds: 60,
		minLength: 15,
		...overrides,
	});
	t.teardown(passwords.close);
	return passwords;
}

/** Processor time of a synchronous call in milliseconds: the least of three, whatever else the machine does. */
function processorTime(call: () => void): number {
	const times = [1, 2, 3].map(() => {
		const start = process.cpuUsage();
		call();
		return process.cpuUsage(start).user / 1000;
	});
	return Math.min(...times);
}

const malformed = "$2b$10$XUo65k3UjZ2N";
const digest = "XUo65k3UjZ2N/dpBS.l0dOkwA.kpCoHg5DeZmnW46P7Fb9FMsPa8.";

t.test("L02: every refusal spends one hash at the current cost", async (t) => {
	const passwords = testPasswords(t, { cost: 11 });
	const [old] = await Promise.all([testPasswords(t).hash("right password")]);
	const current = await passwords.hash("right password");
	const ancient = hash({ input: "right password", cost: 4 }).value;
	const long = "a".repeat(80);
	const kinds: [string, string, StoredPassword | undefined][] = [
		["unknown or disabled account", "wrong", undefined],
		["wrong password", "wrong", current],
		["wrong password, hash of cost 10", "wrong", old],
		["wrong password, hash of cost 4", "wrong", { ...old, hash: ancient }],
		["long password, short one stored", long, current],
		["long password, unknown account", long, undefined],
		["malformed hash", "wrong", { ...current, hash: malformed }],
		["empty hash", "wrong", { ...current, hash: "" }],
		["2x", "wrong", { ...current, hash: `$2x$10$${digest}` }],
		["cost over 14", "wrong", { ...current, hash: `$2b$31$${digest}` }],
	];
	for (const [kind, password, stored] of kinds) {
		const before = passwords.stats().work.verify;
		t.equal(await passwords.verify(password, stored), false, kind);
		t.equal(passwords.stats().work.verify - before, 1, `${kind}: one hash`);
	}
	const before = passwords.stats().work.verify;
	t.equal(await passwords.verify("right password", old), true);
	t.equal(passwords.stats().work.verify - before, 0.5, "a good login is not topped up");
});

t.test("L02: a decoy and a topped-up hash take the processor time of a real hash", async (t) => {
	const real = processorTime(() => hash({ input: "right", cost: 10 }));
	const cheap = hash({ input: "right", cost: 7 }).value;
	const stored = { decoy: undefined, "topped-up": cheap };
	for (const [kind, hash] of Object.entries(stored)) {
		const refused = processorTime(() => {
			t.equal(verify({ input: "wrong", stored: hash, cost: 10 }).value, false);
		});
		t.ok(refused > real / 2 && refused < real * 2, `${kind}: ${refused} ms against ${real} ms`);
	}
	t.match(decoy(12), /^\$2b\$12\$[./A-Za-z0-9]{53}$/);
	t.not(decoy(12), decoy(12), "with a salt of its own");
});

const collisions = new URL("../../../../shared/vectors/derived/bcrypt-collisions.json", import.meta.url);
const skip = existsSync(collisions) ? false : "the shared vectors are not here";

t.test("L09: none of bcrypt's known collisions opens an account", { skip }, async (t) => {
	const passwords = testPasswords(t);
	const { pairs } = JSON.parse(readFileSync(collisions, "utf8")) as {
		pairs: { why: string; stored: string; try: string }[];
	};
	t.equal(pairs.length, 6);
	for (const pair of pairs) {
		const opens = async () => {
			const stored = await passwords.hash(unfold(pair.stored));
			return passwords.verify(unfold(pair.try), stored);
		};
		const outcome = await opens().catch((error) => error.code);
		t.ok(outcome === false || outcome === "INVALID_PASSWORD", `${pair.why}: ${outcome}`);
	}
});

/** The vectors' notation: `'a' x 72 + 'X'`, `U+00E9 x 36`, `\ud800`, or the text itself. */
function unfold(text: string): string {
	if (text.startsWith("\\u")) return String.fromCharCode(Number.parseInt(text.slice(2), 16));
	if (!/^(U\+|')/.test(text)) return text;
	return text
		.split(" + ")
		.map((term) => {
			const [unit = "", times = "1"] = term.split(" x ");
			const letters = unit.startsWith("U+")
				? String.fromCodePoint(Number.parseInt(unit.slice(2), 16))
				: unit.slice(1, -1);
			return letters.repeat(Number(times));
		})
		.join("");
}

t.test("L10: an 80-character password counts to its end", async (t) => {
	const passwords = testPasswords(t);
	const password = `${"copper thistle meridian ".repeat(3)}2718 ada`;
	t.equal(password.length, 80);
	const stored = await passwords.hash(password);
	t.equal(stored.scheme, "bcrypt-hmac-sha256");
	t.equal(await passwords.verify(password, stored), true);
	const first = password.slice(0, 72);
	for (const other of [first, `${first}other tx`, `${password}.`])
		t.equal(await passwords.verify(other, stored), false, other);
	const short = await passwords.hash(first);
	t.equal(short.scheme, "bcrypt");
	t.equal(await passwords.verify(first, short), true);
	t.equal(await passwords.verify(password, short), false);
});

t.test("L10: the digest of a long password is no password", async (t) => {
	const passwords = testPasswords(t);
	const stored = await passwords.hash("a".repeat(73));
	t.equal(await passwords.verify("z2pozXKcDRRgjfdTkUB72ecbqztXD1pvVLHfuIWnumo=", stored), false);
});

t.test("L11: 64 code points of 256 bytes count to the last", async (t) => {
	const passwords = testPasswords(t);
	const password = "\u{1f600}".repeat(64);
	await passwords.checkPolicy(password, "ada");
	const stored = await passwords.hash(password);
	t.equal(await passwords.verify(password, stored), true);
	t.equal(await passwords.verify(`${password.slice(0, -2)}\u{1f601}`, stored), false);
});

t.test("L12: spaces and case count, the Unicode form does not", async (t) => {
	const passwords = testPasswords(t);
	const stored = await passwords.hash(" Caf\u00e9 au lait ");
	for (const same of [" Cafe\u0301 au lait ", " Caf\u00e9\u00a0au lait "])
		t.equal(await passwords.verify(same, stored), true, same);
	for (const other of ["Caf\u00e9 au lait", " caf\u00e9 au lait ", " Cafe au lait "])
		t.equal(await passwords.verify(other, stored), false, other);
});

t.test("L20: a hash of another cost or kind is outdated, and still opens the account", async (t) => {
	const old = await testPasswords(t, { cost: 10 }).hash("right password");
	const passwords = testPasswords(t, { cost: 11 });
	t.equal(passwords.isOutdated(old), true);
	t.equal(await passwords.verify("right password", old), true);
	const fresh = await passwords.hash("right password");
	t.match(fresh.hash, /^\$2b\$11\$/);
	t.equal(passwords.isOutdated(fresh), false);
	t.equal(testPasswords(t).isOutdated(fresh), true, "of higher cost, too");
	for (const prefix of ["$2a$", "$2y$"]) {
		const imported = { ...fresh, hash: fresh.hash.replace("$2b$", prefix) };
		t.equal(passwords.isOutdated(imported), true, prefix);
		t.equal(await passwords.verify("right password", imported), true, prefix);
	}
});

t.test("L29: one password of two users is two hashes, at the current cost", async (t) => {
	const passwords = testPasswords(t);
	const [ada, bob] = await Promise.all([
		passwords.hash("copper thistle meridian 2718"),
		passwords.hash("copper thistle meridian 2718"),
	]);
	t.not(ada.hash, bob.hash);
	for (const { hash } of [ada, bob]) {
		t.match(hash, /^\$2b\$10\$[./A-Za-z0-9]{53}$/);
		t.notMatch(hash, /thistle/);
	}
});

t.test("a refused form of password is refused before any work, on every call", async (t) => {
	const passwords = testPasswords(t);
	const refused = { code: "INVALID_PASSWORD" };
	await t.rejects(passwords.hash("pre\0pre"), refused);
	await t.rejects(passwords.verify("pre\0pre", undefined), refused);
	await t.rejects(passwords.checkPolicy("pre\0pre", "ada"), refused);
	t.throws(() => passwords.normalize("pre\0pre"), refused);
	t.same(passwords.stats().work, { hash: 0, verify: 0, findWeakness: 0 });
});
