/** The commands about accounts. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { openRing } from "../services.ts";
import { shownSession } from "../sessions/session.ts";
import { type Accounts, type Answer, type Call, type Command, type Context, table, time, UsageError } from "./words.ts";

/** Each command by its name. */
export const userCommands: Record<string, Command> = {
	"user add": { words: ["NAME"], options: ["role", "password-stdin"], makesStore: true, run: add },
	"user list": { run: list },
	"user disable": { words: ["NAME"], run: (accounts, call) => setDisabled(accounts, call, true) },
	"user enable": { words: ["NAME"], run: (accounts, call) => setDisabled(accounts, call, false) },
	"user unlock": { words: ["NAME"], run: unlock },
	"user delete": { words: ["NAME"], run: remove },
	"user password": { words: ["NAME"], options: ["password-stdin"], run: password },
	"user roles": { words: ["NAME", "[ROLE]..."], options: ["now"], run: roles },
	"user sessions": { words: ["NAME"], run: listSessions },
	"user logout": { words: ["NAME", "[SESSION]"], run: logout },
};

async function add({ credentials, securityEvents, users }: Accounts, call: Call): Promise<Answer> {
	const [name = ""] = call.words;
	const { role: roles = ["user"] } = call.options;
	await credentials.register(name, await newPassword(call), roles);
	const { id, username } = await users.getByName(name);
	securityEvents.record({ event: "account_added", user: id, roles });
	return {
		text: `made ${username} with the roles ${roles.join(", ")}`,
		json: { id, username, roles },
	};
}

async function list({ users }: Accounts): Promise<Answer> {
	const all = await users.list();
	const rows = all.map(({ username, roles, disabled, id }) => [
		username,
		roles.join(","),
		disabled ? "disabled" : "enabled",
		id,
	]);
	return {
		text: table([["USERNAME", "ROLES", "STATE", "ID"], ...rows]),
		json: all.map(({ createdAt, ...user }) => ({ ...user, created_at: createdAt })),
	};
}

async function setDisabled({ securityEvents, users }: Accounts, call: Call, disabled: boolean): Promise<Answer> {
	const [name = ""] = call.words;
	const { id, username } = await users.getByName(name);
	await users.setDisabled(id, disabled);
	securityEvents.record({ event: disabled ? "account_disabled" : "account_enabled", user: id });
	return {
		text: `${username} is ${disabled ? "disabled" : "enabled"}`,
		json: { id, username, disabled },
	};
}

async function unlock(
	{ limits, securityEvents, store, users }: Accounts,
	{ words: [name = ""] }: Call,
	{ config }: Context,
): Promise<Answer> {
	const user = await users.getByName(name);
	// The tries are named under it: with another one none would be found, and it would look as if they were forgotten.
	await openRing(config, store).rotation.assertSecret();
	await limits.unlock(user);
	securityEvents.record({ event: "account_unlocked", user: user.id });
	return {
		text: `all wrong tries on ${user.username} are forgotten`,
		json: { id: user.id, username: user.username },
	};
}

async function remove({ securityEvents, users }: Accounts, { words: [name = ""] }: Call): Promise<Answer> {
	const user = await users.getByName(name);
	await users.delete(user);
	securityEvents.record({ event: "account_deleted", user: user.id });
	return {
		text: `deleted ${user.username}`,
		json: { id: user.id, username: user.username },
	};
}

async function password({ credentials, securityEvents, users }: Accounts, call: Call): Promise<Answer> {
	const [name = ""] = call.words;
	const user = await users.getByName(name);
	await credentials.reset(user.id, await newPassword(call));
	securityEvents.record({ event: "password_reset", user: user.id });
	return {
		text: `${user.username} has a new password`,
		json: { id: user.id, username: user.username },
	};
}

async function roles({ securityEvents, users, sessions }: Accounts, { words, options }: Call): Promise<Answer> {
	const [name = "", ...wanted] = words;
	if (options.now && wanted.length === 0) throw new UsageError("--now goes with the roles to give");
	const { id } = await users.getByName(name);
	if (wanted.length > 0) {
		await users.setRoles(id, wanted);
		securityEvents.record({ event: "roles_changed", user: id, roles: wanted });
	}
	if (options.now) {
		await sessions.endAll(id);
		securityEvents.record({ event: "all_sessions_ended", user: id });
	}
	const after = await users.getByName(name);
	return {
		text: `${after.username}: ${after.roles.join(", ")}`,
		json: { id, username: after.username, roles: after.roles },
	};
}

async function listSessions({ users, sessions }: Accounts, { words: [name = ""] }: Call): Promise<Answer> {
	const { id } = await users.getByName(name);
	const all = await sessions.list(id);
	const rows = all.map((session) => [
		session.id,
		time(session.createdAt),
		time(session.refreshedAt),
		session.address,
		session.userAgent ?? "",
	]);
	return {
		text: table([["SESSION", "BEGUN", "LAST USED", "ADDRESS", "DEVICE"], ...rows]),
		json: all.map(shownSession),
	};
}

async function logout({ securityEvents, users, sessions }: Accounts, { words }: Call): Promise<Answer> {
	const [name = "", sessionId] = words;
	const { id, username } = await users.getByName(name);
	if (sessionId === undefined) await users.logoutEverywhere(id);
	else await sessions.endOwn(id, sessionId);
	if (sessionId === undefined) securityEvents.record({ event: "logout_everywhere", user: id });
	else securityEvents.record({ event: "session_ended", user: id, session: sessionId });
	const what = sessionId === undefined ? "all of its sessions" : `the session ${sessionId}`;
	return { text: `${username} is logged out of ${what}`, json: { id, username, session: sessionId ?? null } };
}

/** A new password: from standard input, or typed twice at a terminal without being shown. */
async function newPassword({ options }: Call): Promise<string> {
	if (options["password-stdin"]) return (await text(process.stdin)).replace(/\r?\n$/, "");
	if (!process.stdin.isTTY) throw new UsageError("there is no terminal to ask for the password; use --password-stdin");
	const hidden = new Writable({ write: (_chunk, _encoding, done) => done() });
	const terminal = createInterface({
		input: process.stdin,
		output: hidden,
		terminal: true,
	});
	const ask = async (question: string) => {
		process.stderr.write(question);
		const answer = await terminal.question("");
		process.stderr.write("\n");
		return answer;
	};
	try {
		const password = await ask("Password: ");
		if ((await ask("Once more: ")) !== password) throw new UsageError("the two passwords differ");
		return password;
	} finally {
		terminal.close();
	}
}
