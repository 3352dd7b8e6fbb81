/** The commands: the same services as the server, without HTTP. */
import { once } from "node:events";
import { parseArgs } from "node:util";
import { type Config, ConfigError, loadConfig, settings, shown } from "../config/config.ts";
import { bringUpToDate, openAccounts, openRing } from "../services.ts";
import { storeExists } from "../store/store.ts";
import { printEvents } from "./events.ts";
import { keyCommands } from "./keys.ts";
import { revokeIssuedBefore } from "./revoke.ts";
import { userCommands } from "./users.ts";
import { type Accounts, type Answer, none, only, table, UsageError } from "./words.ts";

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
                                             before then: now, epoch seconds, or 2026-11-23T18:30:00Z
  backup FILE                                copy the live SQLite database to a new file
  config                                     every setting, its value and where it comes from

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

/** Does what the words say. What is too long to be held as one answer is printed as it comes. */
async function dispatch(argv: readonly string[], print: (line: Answer) => Promise<void>): Promise<Answer | undefined> {
	const { values, positionals } = parseArgs({
		args: [...argv],
		allowPositionals: true,
		options: {
			json: { type: "boolean" },
			help: { type: "boolean", short: "h" },
			role: { type: "string", multiple: true },
			user: { type: "string" },
			since: { type: "string" },
			"password-stdin": { type: "boolean" },
			now: { type: "boolean" },
			"issued-before": { type: "string" },
		},
	});
	const [command, ...words] = positionals;
	if (values.help || command === "help") return { text: usage.trimEnd(), json: { usage } };
	const call = {
		words,
		roles: values.role ?? [],
		user: values.user,
		since: values.since,
		passwordFromStdin: values["password-stdin"] === true,
		now: values.now === true,
	};
	// An option that a command would not read must not look as if it had been obeyed.
	if (values.role && words[0] !== "add") throw new UsageError("--role goes with user add; user roles takes bare names");
	if (values["password-stdin"] && words[0] !== "add" && words[0] !== "password")
		throw new UsageError("--password-stdin goes with user add and user password");
	if (values.now && (words[0] !== "roles" || words.length < 3))
		throw new UsageError("--now goes with user roles and the roles to give");
	if ((values.user !== undefined || values.since !== undefined) && command !== "events")
		throw new UsageError("--user and --since go with events");
	if (values["issued-before"] !== undefined && command !== "revoke")
		throw new UsageError("--issued-before goes with revoke");
	if (command === "serve") throw new UsageError("serve takes nothing more");
	if (command === "config" || command === "migrate") none(words);
	if (command === "config") return showConfig();
	if (command === "migrate") return withAccounts("new or old", migrate);
	if (command === "backup") return withAccounts("old", ({ store }) => backup(store, only(words, "FILE")));
	if (command === "events")
		return withAccounts("old", async (accounts, config) => {
			await bringUpToDate(config, accounts.store);
			await printEvents(accounts, call, print);
			return undefined;
		});
	if (command === "revoke") {
		const text = values["issued-before"];
		none(words);
		if (text === undefined) throw new UsageError("revoke needs --issued-before TIME");
		return withAccounts("old", async (accounts, config) => {
			await bringUpToDate(config, accounts.store);
			return revokeIssuedBefore(accounts, text);
		});
	}
	if (command === "user") {
		const [verb = "", ...rest] = words;
		const run = Object.hasOwn(userCommands, verb) ? userCommands[verb] : undefined;
		if (!run) throw new UsageError(`user ${verb} is not a command`);
		if (verb !== "list" && rest.length === 0) throw new UsageError("NAME is missing");
		return withAccounts(verb === "add" ? "new or old" : "old", async (accounts, config) => {
			await bringUpToDate(config, accounts.store);
			return run(accounts, { ...call, words: rest });
		});
	}
	if (command === "key") {
		const [verb = "", ...rest] = words;
		const run = Object.hasOwn(keyCommands, verb) ? keyCommands[verb] : undefined;
		if (!run) throw new UsageError(`key ${verb} is not a command`);
		if (verb === "revoke") only(rest, "KID");
		else none(rest);
		return withAccounts("old", async ({ store, securityEvents }, config) => {
			await bringUpToDate(config, store);
			return run(openRing(config, store).rotation, rest, securityEvents);
		});
	}
	throw new UsageError(`${command ?? "nothing"} is not a command`);
}

/** Opens the store for one command. Most want an old one: a new one, made where DATA_DIR was mistyped, would say nothing. */
async function withAccounts(
	store: "old" | "new or old",
	run: (accounts: Accounts, config: Config) => Promise<Answer | undefined>,
): Promise<Answer | undefined> {
	const { config } = loadConfig(process.env);
	if (store === "old" && !storeExists(config))
		throw Object.assign(new Error(`there is no store in DATA_DIR (${config.dataDir})`), { code: "NO_STORE" });
	const accounts = await openAccounts(config);
	try {
		return await run(accounts, config);
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

/** Errors that have a message for the person at the keyboard; others are faults and keep their stack. */
const isExpected = (error: unknown): boolean =>
	error instanceof UsageError || (error instanceof Error && "code" in error);
