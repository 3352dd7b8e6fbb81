/** What every command has to do with: the words it was given, and the answer it gives. */
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

/** What a command was called with. */
export interface Call {
	words: string[];
	roles: string[];
	user: string | undefined;
	since: string | undefined;
	passwordFromStdin: boolean;
	now: boolean;
}

/** The one word that a command takes. */
export function only(words: readonly string[], name: string): string {
	const [word, ...more] = words;
	if (word === undefined) throw new UsageError(`${name} is missing`);
	none(more);
	return word;
}

/** Refuses words that a command would not read. */
export function none(words: readonly string[]): void {
	if (words.length > 0) throw new UsageError(`${words[0]} is one word too many`);
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
