/** Which new passwords are refused, and why: rows L15 to L17 and L25. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { openPasswords } from "../../../src/passwords/passwords.ts";
import { findWeakness } from "../../../src/passwords/policy.ts";

const weakness = (password: string, username = "ada", minLength = 15) =>
	findWeakness({ password, username, minLength });

const passwords = openPasswords({
	cost: 10,
	threads: 1,
	maxWaitSeconds: 60,
	minLength: 15,
});
t.teardown(passwords.close);

t.test("the policy runs in the pool and answers with its reason", async (t) => {
	await passwords.checkPolicy("copper thistle meridian 2718", "ada");
	await t.rejects(passwords.checkPolicy("password", "ada"), {
		code: "WEAK_PASSWORD",
		statusCode: 400,
		message: "The password needs at least 15 characters",
	});
});

t.test("L15: the minimum counts code points", async (t) => {
	const short = "The password needs at least 15 characters";
	t.equal(weakness("xkcpqmzvbtwlrh"), short, "14");
	t.equal(weakness("xkcpqmzvbtwlrhg"), undefined, "15");
	t.equal(weakness("\u{1f600}".repeat(14)), short, "14 emoji");
	t.equal(weakness("\u{1f600}".repeat(15)), undefined, "15 emoji");
	t.equal(weakness("xkcpqmzv", "ada", 8), undefined, "8 where configured");
	t.match(weakness("xkcpqmz", "ada", 8), /at least 8/);
});

t.test("L15: a letter with a combining accent counts once", async (t) => {
	const pairs = [..."aeiounyc"].map((letter) => `${letter}\u0301`).join("");
	await t.rejects(passwords.checkPolicy(pairs, "ada"), {
		message: "The password needs at least 15 characters",
	});
	t.equal(weakness(passwords.normalize(pairs), "ada", 8), undefined);
	t.match(weakness(passwords.normalize(pairs), "ada", 9), /at least 9/);
});

const vectors = new URL("../../../../shared/vectors/passwords/", import.meta.url);

const skip = existsSync(vectors) ? false : "the shared vectors are not here";

/** The passwords of a list that are at least this long, the count behind them cut off. */
function readList(name: string, minLength: number): string[] {
	return readFileSync(new URL(name, vectors), "utf8")
		.split("\n")
		.map((line) => line.replace(/\s+\d+$/, ""))
		.filter((password) => [...password].length >= minLength);
}

t.test("L16: every common password is refused with a reason", { skip }, async (t) => {
	for (const name of ["10k-most-common.txt", "zxcvbn-xato-47k-freq.txt"]) {
		const list = readList(name, 1);
		t.ok(list.length > 9000, `${name} was read`);
		const accepted = list.filter((password) => !weakness(password));
		t.same(accepted, [], name);
	}
});

t.test("L16: at a minimum of 8 nearly every common password is refused", { skip }, async (t) => {
	const accepted = (name: string, step: number) =>
		readList(name, 8).filter((password, index) => index % step === 0 && !weakness(password, "ada", 8));
	t.same(accepted("10k-most-common.txt", 1), ["films+pic+galeries", "sentnece", "hotmail1", "hotmail0"]);
	t.same(accepted("zxcvbn-xato-47k-freq.txt", 8), [], "each eighth line");
});

t.test("L16: keyboard walks, repetitions and sequences are refused with a reason", async (t) => {
	for (const [password, reason] of [
		["qwertyuiopasdfgh", /common words and passwords/],
		["1qaz2wsx3edc4rfv", /common words and passwords/],
		["!QAZ2wsx#EDC4rfv", /common words|keyboard/],
		["azertyuiopqsdfgh", /keyboard/],
		["vfrtgbnhyujmkiol", /keyboard/],
		["aaaaaaaaaaaaaaaaaaaa", /repeats/],
		["P@ssw0rdP@ssw0rd", /repeats/],
		["PASSWORD1234567890", /common words and passwords/],
		["drowssapdrowssap12", /./],
		["abcdefghijklmnopqrst", /sequence/],
		["password\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}", /common/],
	] as const)
		t.match(weakness(password), reason, password);
});

t.test("L17: no kind of character is asked for", async (t) => {
	for (const password of [
		"xkcpqmzvbtwlrhgnyfds",
		"copper thistle meridian 2718",
		"correct horse battery staple",
		"90417338265207194853",
		"\u0434\u043b\u0438\u043d\u043d\u044b\u0439 \u043f\u0430\u0440\u043e\u043b\u044c \u0433\u043e\u0442\u043e\u0432",
	])
		t.equal(weakness(password), undefined, password);
});

t.test("L25: the username and the service's name are refused inside a password", async (t) => {
	const username = "The password must not contain the username";
	const service = "The password must not contain the name of the service";
	for (const [password, user, reason] of [
		["copper ada thistle meridian", "ada", username],
		["copper ADA thistle meridian", "ada", username],
		["copper ada thistle meridian", "Ada", username],
		["copper \uff21\uff44\uff41 thistle meridian", "ada", username],
		["copper lovelace thistle meridian", "lovelace@example.org", username],
		["copper lovelace@example.org", "lovelace@example.org", username],
		["copper thistle gatehouse meridian", "ada", service],
		["copper thistle GateHouse meridian", "ada", service],
		["copper thistle meridian", "al", undefined],
		["copper thistle meridian", "er@example.org", undefined],
	] as const)
		t.equal(weakness(password, user), reason, `${password} of ${user}`);
});

t.test("a long password is judged by its first 128 characters", async (t) => {
	const weak = "password".repeat(16);
	t.match(weakness(`${weak}xkcpqmzvbtwlrhgnyfds`), /repeats/);
	t.equal(weakness(`xkcpqmzvbtwlrhgnyfds${weak}`), undefined);
});
