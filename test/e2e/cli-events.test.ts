/** `gatehouse events`: what the service and the commands have done, for people and for programs. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { rootAccount, run, startServer } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

t.test(
	"G01: events shows what happened, for a person and as JSON lines, of one account and since a time",
	async (t) => {
		const settings = { DATA_DIR: temporaryFolder(t), DRAIN_SECONDS: "0", ...rootAccount };
		const server = await startServer(t, settings);
		const began = Math.floor(Date.now() / 1000);
		const answer = await server.login("root");
		t.equal(answer.status, 200);
		t.equal((await server.login("root", "wrong")).status, 401);
		// Rows are written a moment later, and at the end of the process what is left.
		server.signal("SIGTERM");
		t.equal((await server.ended).code, 0);
		const lines = server.logged().filter(({ event }) => event !== undefined);
		t.match(lines[0]?.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, "the log's times are in UTC");

		const cli = async (words: string[], input?: string) => {
			const { code, stdout, stderr } = await run(t, words, settings, input);
			t.equal(code, 0, stderr);
			return stdout.split("\n").filter(Boolean);
		};
		const read = async (...words: string[]) =>
			(await cli(["events", "--json", ...words])).map((line) => JSON.parse(line) as Record<string, unknown>);
		await cli(["user", "disable", "--json", await addAda(cli)]);
		const all = await read();
		const names = [
			"key_active",
			"first_administrator_made",
			"login",
			"login_refused",
			"account_added",
			"account_disabled",
		];
		// Within one second the events of several processes have no order.
		t.same(all.map(({ event }) => String(event)).sort(), [...names].sort());
		const [login = {}, refused, added, disabled] = names
			.slice(2)
			.map((name) => all.find(({ event }) => event === name));
		t.same(Object.keys(login), [
			...["id", "at", "event", "outcome", "user", "session", "request", "address", "details"],
		]);
		t.match(login, { outcome: "success", address: "127.0.0.1", request: answer.headers.get("x-request-id") });
		t.ok(Number(login.at) >= began);
		t.match(refused, { outcome: "refused", user: login.user, details: { reason: "wrong password" } });
		t.match(added, { address: null, request: null, details: { roles: ["user"] } }, "a command has no address");

		t.match(
			(await read("--user", "root")).map(({ event }) => event),
			["first_administrator_made", "login", "login_refused"],
		);
		await cli(["user", "roles", "ada", "admin", "--now"]);
		const adaId = String(disabled?.user);
		await cli(["user", "delete", "ada"]);
		const ofAda = (await read("--user", adaId)).map(({ event }) => event);
		t.ok(ofAda.includes("account_deleted"), "a deleted account by its id");
		t.ok(ofAda.includes("all_sessions_ended"));
		t.notOk(ofAda.includes("logout_everywhere"), "after roles --now devices stay known");
		t.same(await read("--since", "2999-01-01"), []);
		t.equal((await read("--since", new Date(began * 1000).toISOString())).length > 3, true);
		const [line = ""] = (await cli(["events", "--user", "root"])).slice(-1);
		t.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}refused {2}login_refused {2}user=/);

		for (const words of [["--since", "yesterday"], ["--user", "nobody"], ["more"]]) {
			const { code, stdout } = await run(t, ["events", ...words], settings);
			t.not(code, 0, words.join(" "));
			t.equal(stdout, "");
		}

		const table = new DatabaseSync(join(settings.DATA_DIR, "gatehouse.db"));
		table.exec("update security_events set address = char(27) || '[2J' || char(0x202e) where event = 'login'");
		table.exec("create trigger full before insert on security_events begin select raise(abort, 'full'); end");
		table.close();
		const shown = await cli(["events"]);
		t.ok(
			shown.some((line) => line.includes("address=\\u001b[2J\\u202e")),
			"no value draws on the terminal",
		);
		t.notOk(shown.some((line) => line.includes("\u001b") || line.includes("\u202e")));
		const unheard = await run(t, ["user", "roles", "root", "admin", "user", "--now"], settings);
		t.match(unheard, {
			code: 0,
			stdout: "root: admin, user\n",
			stderr: /2 security events of this command could not be/,
		});
	},
);

async function addAda(cli: (words: string[], input?: string) => Promise<string[]>): Promise<string> {
	await cli(["user", "add", "ada", "--password-stdin"], "velvet anchor parabola 3141");
	return "ada";
}
