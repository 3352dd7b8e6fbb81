/** What every command has to do with: the words it was given, and the answer it gives. */
import type { parseArgs } from "node:util";
import type { Config } from "../config/config.ts";
import type { openAccounts } from "../services.ts";

/** Wrong words on the command line: exit code 2. */
export class UsageError extends Error {}

/** The services that commands call. */
export type Accounts = Omit<Awaited<ReturnType<typeof openAccounts>>, "close">;

/** What a command answers: a line for a person and a value for programs. */
export interface Answer {
	text: string;
	json: unknown;
}

/** The options that some commands take, besides `--json`. */
export const options = {
	role: { type: "string", multiple: true },
	user: { type: "string" },
	since: { type: "string" },
	"password-stdin": { type: "boolean" },
	now: { type: "boolean" },
	"issued-before": { type: "string" },
} as const;

/** What a command was called with. */
export interface Call {
	words: string[];
	options: ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];
}

/** One command, and what it takes: anything else is refused, as it must not look as if it had been obeyed. */
export interface Command {
	/** As the usage shows them: `NAME`, `[SESSION]`, `[ROLE]...`. */
	words?: readonly string[];
	options?: readonly (keyof typeof options)[];
	/** Whether it may make a store. For the others a new one, made where DATA_DIR was mistyped, would say nothing. */
	makesStore?: true;
	/** Whether it leaves the store's tables to itself; before all others they are brought up to date. */
	anyVersion?: true;
	/** Answers, or prints what is too long to be held as one answer as it comes. */
	run(accounts: Accounts, call: Call, context: Context): Promise<Answer | undefined>;
}

/** What some commands need besides. */
export interface Context {
	config: Config;
	print(line: Answer): Promise<void>;
}

/** Refuses words that a command does not take, and asks for those that are missing. */
export function checkWords(words: readonly string[], taken: readonly string[] = []): void {
	const missing = taken[words.length];
	if (missing !== undefined && !missing.startsWith("[")) throw new UsageError(`${missing} is missing`);
	const more = words[taken.length];
	if (more !== undefined && !taken.at(-1)?.endsWith("...")) throw new UsageError(`${more} is one word too many`);
}

/** Columns as wide as their longest cell. */
export function table(rows: string[][]): string {
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

/** Epoch seconds as a person reads them, in UTC. */
export const time = (seconds: number): string => new Date(seconds * 1000).toISOString().replace(".000", "");

/**
 * A point in time as a word, in epoch seconds with their fraction: epoch seconds, or a time with its zone (RFC 3339 section
 * 5.6), whose seconds may be left out. Nothing where it is neither.
 */
export function readTime(text: string): number | undefined {
	if (/^\d{1,10}$/.test(text)) return Number(text);
	const isTime = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)$/.test(text);
	const milliseconds = isTime ? Date.parse(text.toUpperCase().replace(" ", "T")) : Number.NaN;
	return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}
