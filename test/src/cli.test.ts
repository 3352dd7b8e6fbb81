/** The commands, called in this process: what each answers, in text and JSON, and what each refuses. */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import t, { type Test } from "tap";
import { runCommand } from "../../src/cli/cli.ts";
import { goodPassword } from "../support/app.ts";
import { temporaryFolder } from "../support/stores.ts";

/** A command line over one SQLite store, which is not there yet. */
function commandLine(t: Test, dataDir = join(temporaryFolder(t), "data")) {
	const environment = { DATA_DIR: dataDir, HASH_COST: "10", HASH_THREADS: "1" };
	t.intercept(process, "env", { value: environment });
	return async (line: string, input = "") => {
		t.intercept(process, "stdin", { value: Readable.from([Buffer.from(input)]), configurable: true });
		const written = { stdout: "", stderr: "" };
		const restore = (["stdout", "stderr"] as const).map((name) => {
			const { write } = process[name];
			process[name].write = ((text: string) => {
				written[name] += text;
				return true;
			}) as typeof write;
			return () => {
				process[name].write = write;
			};
		});
		try {
			return { code: await runCommand(line.split(" ")), ...written };
		} finally {
			for (const one of restore) one();
		}
	};
}

t.test("every command answers in text, and with --json in one JSON document", async (t) => {
	const cli = commandLine(t);
	const json = async (line: string) => JSON.parse((await cli(`${line} --json`)).stdout);
	t.match(await cli("migrate"), { code: 0, stdout: /^applied \w+/, stderr: "" });
	t.same(await json("migrate"), { applied: [] });
	t.same(await json("user list"), []);
	const added = await cli("user add Ｒoot --role admin --password-stdin", goodPassword);
	t.same(added, { code: 0, stdout: "made root with the roles admin\n", stderr: "" });
	t.match(
		(await cli("user list")).stdout,
		/^USERNAME {2}ROLES {2}STATE {4}ID\nroot {6}admin {2}enabled {2}[\w-]{22}\n$/,
	);
	t.match(await json("user list"), [{ username: "root", roles: ["admin"], disabled: false, id: /^[\w-]{22}$/ }]);
	t.notMatch(JSON.stringify(await json("user list")), /password|\$2b\$/, "no hash is shown");
	t.match(await cli("user roles ROOT"), { code: 0, stdout: "root: admin\n" });
	t.match(await json("user roles root user admin"), { username: "root", roles: ["admin", "user"] });
	const eve = await cli("user add eve --role admin --role user --password-stdin --json", `${goodPassword}\r\n`);
	t.match(JSON.parse(eve.stdout), { username: "eve", roles: ["admin", "user"] });
	t.same(await cli("user disable EVE"), { code: 0, stdout: "eve is disabled\n", stderr: "" });
	t.match(await json("user list"), [{ username: "eve", disabled: true }, { disabled: false }]);
	t.match(await json("user disable eve"), { disabled: true }, "a second time changes nothing");
	t.match(await json("user enable eve"), { username: "eve", disabled: false });
	t.match(await cli("user unlock EVE"), { code: 0, stdout: "all wrong tries on eve are forgotten\n" });
	t.match(await json("user unlock eve"), { username: "eve", id: /^[\w-]{22}$/ });
	t.match(await cli("user unlock nobody"), { code: 1, stderr: "gatehouse: No account has this username\n" });
	t.same(await cli("user password eve --password-stdin", "velvet anchor parabola 3141"), {
		code: 0,
		stdout: "eve has a new password\n",
		stderr: "",
	});
	t.match(await json("user delete eve"), { username: "eve" });
	t.same(await json("key list"), [], "no server has run yet");
	const made = await cli("key rotate");
	t.match(made, { code: 0, stdout: /^made [\w-]{43}; it signs from now on\n$/, stderr: "" });
	const [{ kid }] = await json("key list");
	t.match(made.stdout, kid);
	t.match(await json("key rotate"), { algorithm: "ES256", state: "published", made: true, ends_at: null });
	t.match(await json(`key revoke ${kid}`), { revoked: kid, signing: /^[\w-]{43}$/ });
	const keys = (await json("key list")) as { kid: string; state: string; ends_at: number | null }[];
	t.same(keys.map(({ state }) => state).sort(), ["active", "gone"]);
	t.match(
		keys.find((key) => key.kid === kid),
		{ state: "gone", ends_at: Number },
	);
	t.same(await json("revoke --issued-before 1970-01-01T00:00:07Z"), { issued_before: 7, sessions: 0 });
	t.match(await cli("--help"), { code: 0, stdout: /^gatehouse COMMAND/ });
});

t.test(
	"the last administrator cannot be disabled, deleted or demoted, and a disabled one does not count",
	async (t) => {
		const cli = commandLine(t);
		await cli("user add root --role admin --password-stdin", goodPassword);
		await cli("user add eve --role admin --password-stdin", goodPassword);
		t.match(await cli("user disable root"), { code: 0 }, "with a second administrator the first may go");
		for (const line of ["user disable eve", "user delete Eve", "user roles eve user"]) {
			t.same(await cli(line), { code: 1, stdout: "", stderr: "gatehouse: The last administrator stays\n" }, line);
			const { stderr, code } = await cli(`${line} --json`);
			t.match({ exit: code, ...JSON.parse(stderr) }, { exit: 1, code: "LAST_ADMINISTRATOR" });
		}
		t.match(JSON.parse((await cli("user list --json")).stdout), [
			{ username: "eve", disabled: false, roles: ["admin"] },
			{ username: "root", disabled: true },
		]);
		t.match(await cli("user enable root"), { code: 0 });
		t.match(await cli("user roles eve user"), { code: 0 }, "now the other one stays");
	},
);

t.test("what a command refuses ends with 1, wrong words with 2, and nothing is changed", async (t) => {
	const cli = commandLine(t);
	await cli("user add root --role admin --password-stdin", goodPassword);
	const before = await cli("user list --json");
	const cases: [line: string, code: number, reason: RegExp, input?: string][] = [
		["revoke", 2, /revoke needs --issued-before TIME/],
		["revoke everything --issued-before now", 2, /one word too many/],
		["revoke --issued-before yesterday", 2, /takes now, epoch seconds, or/],
		["revoke --issued-before 9999999999", 2, /still to come/],
		["revoke --issued-before 2026-11-23T18:30:00", 2, /takes now, epoch seconds, or/],
		["user list --issued-before now", 2, /goes with revoke/],
		["events --since 2026-11-23T18:30", 2, /--since takes a date or a time/],
		["user list --since 0", 2, /--since goes with events/],
		["backup add --role admin", 2, /--role goes with user add/],
		["backup password --password-stdin", 2, /--password-stdin goes with user add and user password/],
		["config --now", 2, /--now goes with user roles/],
		["user roles root --now", 2, /--now goes with the roles to give/],
		["user logout root one two", 2, /two is one word too many/],
		["user", 2, /^gatehouse: user is not a command/],
		["user add ROOT --password-stdin", 1, /The username is taken/, goodPassword],
		["user add ｒｏｏｔ --password-stdin", 1, /The username is taken/, goodPassword],
		["user add a/b --password-stdin", 1, /A username is/, goodPassword],
		["user add bob --password-stdin", 1, /at least 15 characters/, "short"],
		["user add bob --password-stdin", 1, /A password is at most/, ""],
		["user add bob --password-stdin", 1, /A password is at most/, "two lines of\npassword are none"],
		["user add bob --role king --password-stdin", 1, /No role has this name/, goodPassword],
		["user roles root king", 1, /No role has this name/],
		["user disable nobody", 1, /No account has this username/],
		["user password nobody --password-stdin", 1, /No account has this username/, goodPassword],
		["user add bob", 2, /--password-stdin/],
		["user disable", 2, /NAME is missing/],
		["user roles", 2, /NAME is missing/],
		["user list everybody", 2, /one word too many/],
		["user roles root --role user", 2, /--role goes with user add/],
		["user disable root --password-stdin", 2, /--password-stdin goes with/],
		["user constructor root", 2, /is not a command/],
		["key revoke nobody", 1, /The key ring has no key with this id/],
		["key revoke", 2, /KID is missing/],
		["key revoke one two", 2, /one word too many/],
		["key list all", 2, /one word too many/],
		["key rotate now", 2, /one word too many/],
		["key constructor", 2, /key constructor is not a command/],
		["key", 2, /is not a command/],
		["frobnicate", 2, /is not a command/],
		["backup", 2, /FILE is missing/],
		["config everything", 2, /one word too many/],
		["migrate now", 2, /one word too many/],
		["serve now", 2, /serve/],
		["--frob", 2, /--frob/],
	];
	for (const [line, code, reason, input] of cases)
		t.match(await cli(line, input), { code, stdout: "", stderr: reason }, line);
	t.same(await cli("user list --json"), before);
});

t.test(
	"DATA_DIR/secret is made for a store without keys, read beside one with keys, and never made there",
	async (t) => {
		const dataDir = join(temporaryFolder(t), "data");
		const secret = join(dataDir, "secret");
		const cli = commandLine(t, dataDir);
		await cli("migrate");
		await cli("user add ada --password-stdin", goodPassword);
		t.same(await cli("key list --json"), { code: 0, stdout: "[]\n", stderr: "" });
		t.equal(existsSync(secret), false, "a list needs none");
		const { kid: active } = JSON.parse((await cli("key rotate --json")).stdout);
		t.equal(existsSync(secret), true, "the first key does");
		const { kid: published } = JSON.parse((await cli("key rotate --json")).stdout);
		t.match(await cli("user unlock ada"), { code: 0 });

		rmSync(secret);
		t.match(await cli("key list"), { code: 0 });
		t.match(await cli(`key revoke ${published}`), { code: 0 }, "what makes no key needs no secret");
		for (const line of ["key rotate", `key revoke ${active}`, "user unlock ada"])
			t.match(await cli(line), { code: 2, stdout: "", stderr: /SECRET is not set, and .*secret is not there/ }, line);
		t.equal(existsSync(secret), false, "another one would open nothing");
		t.equal((await cli("events")).stdout.match(/account_unlocked/g)?.length, 1, "and nothing more was unlocked");
	},
);

t.test("only migrate and user add make a store: the others name DATA_DIR and leave no file behind", async (t) => {
	const folder = temporaryFolder(t);
	const absent = join(folder, "absent");
	const empty = join(folder, "empty");
	mkdirSync(empty);
	const copy = join(folder, "copy.db");
	const lines = [
		`backup ${copy}`,
		"user list",
		"user disable root",
		"user enable root",
		"user delete root",
		"user password root --password-stdin",
		"user roles root",
		"user roles root admin",
		"key list",
		"key rotate",
		"key revoke nobody",
	];
	for (const dataDir of [absent, empty]) {
		const cli = commandLine(t, dataDir);
		for (const line of lines) {
			const answer = await cli(line, goodPassword);
			t.match(answer, { code: 1, stdout: "", stderr: /^gatehouse: .*DATA_DIR.*\n$/ }, line);
			t.ok(answer.stderr.includes(dataDir), `${line}: says which folder`);
			const json = await cli(`${line} --json`, goodPassword);
			t.match({ exit: json.code, ...JSON.parse(json.stderr) }, { exit: 1, code: String, message: /DATA_DIR/ }, line);
			t.same(readdirSync(folder, { recursive: true }), ["empty"], `${line}: nothing was made`);
		}
	}
	t.match(await commandLine(t, absent)("migrate"), { code: 0 });
	t.equal(existsSync(join(absent, "gatehouse.db")), true, "migrate makes one");
	t.match(await commandLine(t, absent)(`backup ${copy}`), { code: 0 });
	t.match(await commandLine(t, empty)("user add root --role admin --password-stdin", goodPassword), { code: 0 });
	t.equal(existsSync(join(empty, "gatehouse.db")), true, "user add makes one");
	t.match(await commandLine(t, empty)("user disable root"), { code: 1, stderr: /last administrator/ });
});
