/** The commands: the same services as the server, without HTTP. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { type Config, ConfigError, loadConfig, settings, shown } from "./config/config.ts";
import { openAccounts } from "./services.ts";

const usage = `gatehouse COMMAND [--json]

  serve                                      serve HTTP (the default)
  migrate                                    bring the store's tables up to date
  user add NAME [--role ROLE]...             make an account; asks for the password,
           [--password-stdin]                or reads it from standard input
  user list                                  list accounts
  user disable NAME | enable NAME            refuse logins and live tokens, or allow them again
  user delete NAME                           delete an account; its id is never used again
  user password NAME [--password-stdin]      set another password
  user roles NAME [ROLE]...                  give exactly these roles; without any, show them
  backup FILE                                copy the live SQLite database to a new file
  config                                     every setting, its value and where it comes from

With --json the answer is one JSON document on standard output.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings.
`;

/** Wrong words on the command line: exit code 2. */
class UsageError extends Error {}

type Accounts = Awaited<ReturnType<typeof openAccounts>>;

/** What a command answers: a line for a person and a value for programs. */
interface Answer {
	text: string;
	json: unknown;
}

interface Call {
	words: string[];
	roles: string[];
	passwordFromStdin: boolean;
}

const userCommands: Record<string, (accounts: Accounts, call: Call) => Promise<Answer>> = {
	async add({ credentials, users }, call) {
		const name = only(call.words, "NAME");
		const roles = call.roles.length > 0 ? call.roles : ["user"];
		await credentials.register(name, await newPassword(call), roles);
		const { id, username } = await users.getByName(name);
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
	async delete({ users }, call) {
		const user = await users.getByName(only(call.words, "NAME"));
		await users.delete(user);
		return {
			text: `deleted ${user.username}`,
			json: { id: user.id, username: user.username },
		};
	},
	async password({ users, credentials }, call) {
		const user = await users.getByName(only(call.words, "NAME"));
		await credentials.reset(user.id, await newPassword(call));
		return {
			text: `${user.username} has a new password`,
			json: { id: user.id, username: user.username },
		};
	},
	async roles({ users }, { words: [name, ...roles] }) {
		if (name === undefined) throw new UsageError("NAME is missing");
		const { id } = await users.getByName(name);
		if (roles.length > 0) await users.setRoles(id, roles);
		const { username, ...now } = await users.getByName(name);
		return {
			text: `${username}: ${now.roles.join(", ")}`,
			json: { id, username, roles: now.roles },
		};
	},
};

async function setDisabled({ users }: Accounts, { words }: Call, disabled: boolean): Promise<Answer> {
	const { id, username } = await users.getByName(only(words, "NAME"));
	await users.setDisabled(id, disabled);
	return {
		text: `${username} is ${disabled ? "disabled" : "enabled"}`,
		json: { id, username, disabled },
	};
}

/** Runs one command and answers the exit code. Everything but the answer goes to standard error. */
export async function runCommand(argv: readonly string[]): Promise<number> {
	const json = argv.includes("--json");
	try {
		const answer = await dispatch(argv);
		process.stdout.write(`${json ? JSON.stringify(answer.json) : answer.text}\n`);
		return 0;
	} catch (error) {
		if (!isExpected(error)) throw error;
		const { code, message } = error as Error & { code?: string };
		const wrongUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
		process.stderr.write(json ? `${JSON.stringify({ code: code ?? "USAGE", message })}\n` : `gatehouse: ${message}\n`);
		if (wrongUsage && !json) process.stderr.write(`\n${usage}`);
		return wrongUsage || error instanceof ConfigError ? 2 : 1;
	}
}

async function dispatch(argv: readonly string[]): Promise<Answer> {
	const { values, positionals } = parseArgs({
		args: [...argv],
		allowPositionals: true,
		options: {
			json: { type: "boolean" },
			help: { type: "boolean", short: "h" },
			role: { type: "string", multiple: true },
			"password-stdin": { type: "boolean" },
		},
	});
	const [command, ...words] = positionals;
	if (values.help || command === "help") return { text: usage.trimEnd(), json: { usage } };
	const call = {
		words,
		roles: values.role ?? [],
		passwordFromStdin: values["password-stdin"] === true,
	};
	// An option that a command would not read must not look as if it had been obeyed.
	if (values.role && words[0] !== "add") throw new UsageError("--role goes with user add; user roles takes bare names");
	if (values["password-stdin"] && words[0] !== "add" && words[0] !== "password")
		throw new UsageError("--password-stdin goes with user add and user password");
	if (command === "serve") throw new UsageError("serve takes nothing more");
	if (command === "config" || command === "migrate") none(words);
	if (command === "config") return showConfig();
	if (command === "migrate") return withAccounts(migrate);
	if (command === "backup") return withAccounts(({ store }) => backup(store, only(words, "FILE")));
	if (command === "user") {
		const [verb = "", ...rest] = words;
		const run = Object.hasOwn(userCommands, verb) ? userCommands[verb] : undefined;
		if (!run) throw new UsageError(`user ${verb} is not a command`);
		return withAccounts(async (accounts) => {
			await accounts.store.migrate();
			return run(accounts, { ...call, words: rest });
		});
	}
	throw new UsageError(`${command ?? "nothing"} is not a command`);
}

async function withAccounts(run: (accounts: Accounts) => Promise<Answer>): Promise<Answer> {
	const accounts = await openAccounts(loadConfig(process.env).config);
	try {
		return await run(accounts);
	} finally {
		await accounts.close();
	}
}

async function migrate({ store }: Accounts): Promise<Answer> {
	const applied = await store.migrate();
	return {
		text: applied.length > 0 ? `applied ${applied.join(", ")}` : "nothing to do",
		json: { applied },
	};
}

async function backup(store: Accounts["store"], file: string): Promise<Answer> {
	await store.backup(file);
	return { text: `wrote ${file}`, json: { file } };
}

function showConfig(): Answer {
	const { config, sources } = loadConfig(process.env);
	const rows = (Object.keys(settings) as (keyof Config)[]).map((key) => ({
		name: settings[key].name,
		value: shown(key, config[key]),
		source: sources[key],
	}));
	return {
		text: table([["SETTING", "VALUE", "SOURCE"], ...rows.map(({ name, value, source }) => [name, value, source])]),
		json: rows,
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

function only(words: readonly string[], name: string): string {
	const [word, ...more] = words;
	if (word === undefined) throw new UsageError(`${name} is missing`);
	none(more);
	return word;
}

function none(words: readonly string[]): void {
	if (words.length > 0) throw new UsageError(`${words[0]} is one word too many`);
}

/** Columns as wide as their longest cell. */
function table(rows: string[][]): string {
	const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
	return rows
		.map((row) =>
			row
				.map((cell, column) => cell.padEnd(widths[column] ?? 0))
				.join("  ")
				.trimEnd(),
		)
		.join("\n");
}

/** Errors that have a message for the person at the keyboard; others are faults and keep their stack. */
const isExpected = (error: unknown): boolean =>
	error instanceof UsageError || (error instanceof Error && "code" in error);
