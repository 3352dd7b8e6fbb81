/** The commands: the same services as the server, without HTTP. */
import { once } from "node:events";
import { parseArgs } from "node:util";
import { type Config, ConfigError, loadConfig, settings, shown } from "../config/config.ts";
import { bringUpToDate, openAccounts } from "../services.ts";
import { storeExists } from "../store/store.ts";
import { printEvents } from "./events.ts";
import { keyCommands } from "./keys.ts";
import { revokeIssuedBefore } from "./revoke.ts";
import { userCommands } from "./users.ts";
import {
	type Accounts,
	type Answer,
	type Call,
	type Command,
	type Context,
	checkWords,
	options,
	table,
	UsageError,
} from "./words.ts";

const usage = `gatehouse COMMAND [--json]

  serve                                      serve HTTP (the default)
  migrate                                    bring the store's tables up to date
  user add NAME [--role ROLE]...             make an account; asks for the password,
           [--password-stdin]                or reads it from standard input
  user list                                  list accounts
  user disable NAME | enable NAME            refuse logins and live tokens, or allow them again
  user unlock NAME                           forget the wrong passwords that were tried on an account
  user delete NAME                           delete an account; its id is never used again
  user password NAME [--password-stdin]      set another password
  user roles NAME [ROLE]... [--now]          give exactly these roles; without any, show them; they hold from
                                             the next token on, with --now at once: its sessions end
  user sessions NAME                         where an account is logged in
  user logout NAME [SESSION]                 end all of its sessions, or this one
  key list                                   every signing key, its state and its times
  key rotate                                 publish a new key, which signs once every verifier can have it
  key revoke KID                             take a key out at once: its tokens are refused
  events [--user NAME] [--since TIME]        security events, the oldest first; of the last day, where no time is given;
                                             a deleted account by its id
  revoke --issued-before TIME                refuse every access and device token issued, and end every session begun,
                                             before then
  backup FILE                                copy the live SQLite database to a new file
  config                                     every setting, its value and where it comes from

TIME is epoch seconds or 2026-11-23T18:30:00Z; after --since it may be a date, after --issued-before it may be now.
With --json the answer is one JSON document on standard output; of events, one for each line.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings.
`;

/** Runs one command and answers the exit code. Everything but the answer goes to standard error. */
export async function runCommand(argv: readonly string[]): Promise<number> {
	const json = argv.includes("--json");
	process.stdout.on("error", endUnheard);
	try {
		const print = async ({ text, json: value }: Answer) => {
			// At the reader's pace: there may be millions of events.
			if (!process.stdout.write(`${json ? JSON.stringify(value) : text}\n`)) await once(process.stdout, "drain");
		};
		const answer = await dispatch(argv, print);
		if (answer) await print(answer);
		return 0;
	} catch (error) {
		if (!isExpected(error)) throw error;
		const { code, message } = error as Error & { code?: string };
		const wrongUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
		process.stderr.write(json ? `${JSON.stringify({ code: code ?? "USAGE", message })}\n` : `gatehouse: ${message}\n`);
		if (wrongUsage && !json) process.stderr.write(`\n${usage}`);
		return wrongUsage || error instanceof ConfigError ? 2 : 1;
	} finally {
		process.stdout.off("error", endUnheard);
	}
}

/** `gatehouse events | head`: whoever reads has seen enough. */
function endUnheard({ code, message }: NodeJS.ErrnoException): void {
	if (code !== "EPIPE") process.stderr.write(`gatehouse: ${message}\n`);
	process.exit(1);
}

/** Each command that opens the store, by its name. */
const commands: Record<string, Command> = {
	migrate: { makesStore: true, anyVersion: true, run: migrate },
	backup: { words: ["FILE"], anyVersion: true, run: backup },
	events: { options: ["user", "since"], run: printEvents },
	revoke: {
		options: ["issued-before"],
		run: (accounts, { options }) => revokeIssuedBefore(accounts, options["issued-before"]),
	},
	...userCommands,
	...keyCommands,
};

/** Does what the words say. */
async function dispatch(argv: readonly string[], print: Context["print"]): Promise<Answer | undefined> {
	const { values, positionals } = parseArgs({
		args: [...argv],
		allowPositionals: true,
		options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" }, ...options },
	});
	const { json: _, help, ...given } = values;
	if (help || positionals[0] === "help") return { text: usage.trimEnd(), json: { usage } };
	const nameLength = positionals[0] === "user" || positionals[0] === "key" ? 2 : 1;
	const name = positionals.slice(0, nameLength).join(" ");
	const words = positionals.slice(nameLength);
	if (name === "serve") throw new UsageError("serve takes nothing more");
	const command = name !== "config" && Object.hasOwn(commands, name) ? commands[name] : undefined;
	if (!command && name !== "config") throw new UsageError(`${name || "nothing"} is not a command`);
	checkWords(words, command?.words);
	checkOptions(given, command?.options);
	return command ? withAccounts(command, { words, options: given }, print) : showConfig();
}

function checkOptions(given: Call["options"], taken: Command["options"] = []): void {
	for (const option of Object.keys(given) as (keyof typeof options)[]) {
		if (taken.includes(option)) continue;
		const takers = Object.keys(commands).filter((name) => commands[name]?.options?.includes(option));
		throw new UsageError(`--${option} goes with ${takers.join(" and ")}`);
	}
}

/** Opens the store for one command. */
async function withAccounts(
	{ makesStore, anyVersion, run }: Command,
	call: Call,
	print: Context["print"],
): Promise<Answer | undefined> {
	const { config } = loadConfig(process.env);
	if (!makesStore && !storeExists(config))
		throw Object.assign(new Error(`there is no store in DATA_DIR (${config.dataDir})`), { code: "NO_STORE" });
	const accounts = await openAccounts(config);
	try {
		if (!anyVersion) await bringUpToDate(config, accounts.store);
		return await run(accounts, call, { config, print });
	} finally {
		const lost = await accounts.close();
		if (lost > 0) process.stderr.write(`gatehouse: ${lost} security events of this command could not be stored\n`);
	}
}

async function migrate({ store }: Accounts): Promise<Answer> {
	const applied = await store.migrate();
	return {
		text: applied.length > 0 ? `applied ${applied.join(", ")}` : "nothing to do",
		json: { applied },
	};
}

async function backup({ store }: Accounts, { words: [file = ""] }: Call): Promise<Answer> {
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

/** Errors that have a message for the person at the keyboard; others are faults and keep their stack. */
const isExpected = (error: unknown): boolean =>
	error instanceof UsageError || (error instanceof Error && "code" in error);
