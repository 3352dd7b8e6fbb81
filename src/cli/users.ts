/** The commands about accounts. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { type Accounts, type Answer, type Call, none, only, table, time, UsageError } from "./words.ts";

/** Each command by its verb. */
export const userCommands: Record<string, (accounts: Accounts, call: Call) => Promise<Answer>> = {
	async add({ credentials, securityEvents, users }, call) {
		const name = only(call.words, "NAME");
		const roles = call.roles.length > 0 ? call.roles : ["user"];
		await credentials.register(name, await newPassword(call), roles);
		const { id, username } = await users.getByName(name);
		securityEvents.record({ event: "account_added", user: id, roles });
		return {
			text: `made ${username} with the roles ${roles.join(", ")}`,
			json: { id, username, roles },
		};
	},
	async list({ users }, call) {
		none(call.words);
		const all = await users.list();
		const rows = all.map(({ username, roles, disabled, id }) => [
			username,
			roles.join(","),
			disabled ? "disabled" : "enabled",
			id,
		]);
		return {
			text: table([["USERNAME", "ROLES", "STATE", "ID"], ...rows]),
			json: all,
		};
	},
	disable: (accounts, call) => setDisabled(accounts, call, true),
	enable: (accounts, call) => setDisabled(accounts, call, false),
	async delete({ securityEvents, users }, call) {
		const user = await users.getByName(only(call.words, "NAME"));
		await users.delete(user);
		securityEvents.record({ event: "account_deleted", user: user.id });
		return {
			text: `deleted ${user.username}`,
			json: { id: user.id, username: user.username },
		};
	},
	async password({ credentials, securityEvents, users }, call) {
		const user = await users.getByName(only(call.words, "NAME"));
		await credentials.reset(user.id, await newPassword(call));
		securityEvents.record({ event: "password_reset", user: user.id });
		return {
			text: `${user.username} has a new password`,
			json: { id: user.id, username: user.username },
		};
	},
	async roles({ securityEvents, users, sessions }, { words: [name = "", ...roles], now }) {
		const { id } = await users.getByName(name);
		if (roles.length > 0) {
			await users.setRoles(id, roles);
			securityEvents.record({ event: "roles_changed", user: id, roles });
		}
		if (now) {
			await sessions.endAll(id);
			securityEvents.record({ event: "all_sessions_ended", user: id });
		}
		const after = await users.getByName(name);
		return {
			text: `${after.username}: ${after.roles.join(", ")}`,
			json: { id, username: after.username, roles: after.roles },
		};
	},
	async unlock({ limits, securityEvents, users }, { words }) {
		const user = await users.getByName(only(words, "NAME"));
		await limits.unlock(user);
		securityEvents.record({ event: "account_unlocked", user: user.id });
		return {
			text: `all wrong tries on ${user.username} are forgotten`,
			json: { id: user.id, username: user.username },
		};
	},
	async sessions({ users, sessions }, { words }) {
		const { id } = await users.getByName(only(words, "NAME"));
		const all = await sessions.list(id);
		const rows = all.map((session) => [
			session.id,
			time(session.createdAt),
			time(session.refreshedAt),
			session.address,
			session.userAgent ?? "",
		]);
		return { text: table([["SESSION", "BEGUN", "LAST USED", "ADDRESS", "DEVICE"], ...rows]), json: all };
	},
	async logout({ securityEvents, users, sessions }, { words: [name = "", sessionId, ...more] }) {
		none(more);
		const { id, username } = await users.getByName(name);
		if (sessionId === undefined) await users.logoutEverywhere(id);
		else await sessions.endOwn(id, sessionId);
		if (sessionId === undefined) securityEvents.record({ event: "logout_everywhere", user: id });
		else securityEvents.record({ event: "session_ended", user: id, session: sessionId });
		const what = sessionId === undefined ? "all of its sessions" : `the session ${sessionId}`;
		return { text: `${username} is logged out of ${what}`, json: { id, username, session: sessionId ?? null } };
	},
};

async function setDisabled({ securityEvents, users }: Accounts, { words }: Call, disabled: boolean): Promise<Answer> {
	const { id, username } = await users.getByName(only(words, "NAME"));
	await users.setDisabled(id, disabled);
	securityEvents.record({ event: disabled ? "account_disabled" : "account_enabled", user: id });
	return {
		text: `${username} is ${disabled ? "disabled" : "enabled"}`,
		json: { id, username, disabled },
	};
}

/** A new password: from standard input, or typed twice at a terminal without being shown. */
async function newPassword({ passwordFromStdin }: Call): Promise<string> {
	if (passwordFromStdin) return (await text(process.stdin)).replace(/\r?\n$/, "");
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
