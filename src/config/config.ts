/**
 * The configuration of a process: the table of settings, read from the environment or from the files that NAME_FILE
 * names. A process starts with a configuration that is right as a whole, or not at all.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { looksMistyped } from "./names.ts";
import type { Setting } from "./setting.ts";
import { settings } from "./settings.ts";
import * as parse from "./values.ts";

export { settings };

type Table = typeof settings;
type Key = keyof Table;

/** The configuration of one process, complete and checked. */
export type Config = Readonly<{
	[K in Key]: Table[K] extends Setting<infer Value> ? Value : never;
}>;

/** Where each value came from. */
export type Sources = Record<Key, "default" | "environment" | "file">;

/** Everything that is wrong with the settings, in one readable report; never a value, always the remedy. */
export class ConfigError extends Error {
	readonly code = "WRONG_SETTINGS";
	readonly problems: readonly string[];
	constructor(problems: readonly string[], options?: ErrorOptions) {
		const report = problems.map((problem) => `  * ${problem}`).join("\n");
		super(`Gatehouse does not start with these settings:\n${report}`, options);
		this.name = "ConfigError";
		this.problems = problems;
	}
}

/**
 * Reads, checks and completes the configuration.
 *
 * @throws ConfigError with every problem at once.
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): {
	config: Config;
	sources: Sources;
} {
	const problems: string[] = [];
	const values: Record<string, unknown> = {};
	const sources: Record<string, string> = {};
	const names = Object.values(settings).map(({ name }) => name);

	for (const [name, value] of Object.entries(environment)) {
		const meant = value === undefined ? undefined : looksMistyped(name, value, names);
		if (meant) problems.push(`${name} is not a setting; ${meant}`);
	}
	for (const [key, one] of Object.entries(settings) as [Key, Setting<unknown>][]) {
		try {
			const found = read(one.name, environment);
			values[key] = found === undefined ? one.fallback : one.parse(found.text);
			sources[key] = found?.source ?? "default";
		} catch (error) {
			if (!(error instanceof parse.Refusal)) throw error;
			values[key] = one.fallback;
			sources[key] = "environment";
			problems.push(`${one.name} ${error.message}`);
		}
	}
	const config = complete(values as { -readonly [K in Key]: Config[K] }, sources as Sources, problems);
	if (problems.length > 0) throw new ConfigError(problems);
	return { config, sources: sources as Sources };
}

/** The text of a setting, from the environment or from the file that NAME_FILE names; an empty text counts as not set. */
function read(
	name: string,
	environment: Readonly<Record<string, string | undefined>>,
): { text: string; source: "environment" | "file" } | undefined {
	const text = environment[name];
	const file = environment[`${name}_FILE`];
	if (text && file) throw new parse.Refusal(`and ${name}_FILE are both set; keep one of them`);
	if (text) return { text, source: "environment" };
	if (!file) return undefined;
	let content: string;
	try {
		content = readFileSync(file, "utf8").replace(/\r?\n$/, "");
	} catch (error) {
		throw new parse.Refusal(
			`cannot be read from the file that ${name}_FILE names (${(error as NodeJS.ErrnoException).code})`,
		);
	}
	// Whoever names a file means it: a secret that was not mounted must not become the default.
	if (content === "") throw new parse.Refusal(`is empty in the file that ${name}_FILE names`);
	return { text: content, source: "file" };
}

/** Defaults that follow from other settings, and the rules that hold between settings. */
function complete(values: { -readonly [K in Key]: Config[K] }, sources: Sources, problems: string[]): Config {
	const production = values.environment === "production";
	if (values.issuer === "") {
		values.issuer = `http://localhost:${values.port}`;
		if (production && sources.issuer === "default")
			problems.push("ISSUER is required in production: the https address under which clients reach this service");
	} else if (production && !values.issuer.startsWith("https:")) {
		problems.push("ISSUER must be an https address in production");
	}
	if (
		values.tokenLocations.includes("cookie") &&
		URL.canParse(values.issuer) &&
		new URL(values.issuer).pathname !== "/"
	)
		problems.push(
			"ISSUER must not have a path where TOKEN_LOCATIONS has cookie: the pages post to the root of their host, and its cookies go to everything on it",
		);
	if (values.audience.length === 0) values.audience = [values.issuer];
	if (production && sources.docs === "default") values.docs = false;
	if (values.databaseUrl !== undefined && values.secret === undefined) {
		if (!problems.some((problem) => problem.startsWith("SECRET ")))
			problems.push(
				"SECRET is required with PostgreSQL: the same one on every replica, made with: openssl rand -base64 32",
			);
	}
	if (values.databaseListenUrl !== undefined && values.databaseUrl === undefined)
		problems.push("DATABASE_LISTEN_URL goes with DATABASE_URL: with SQLite there are no notifications");
	// Whatever the two addresses are: metrics must not come to stand beside the routes of the world by a change of one.
	if (values.managementPort !== undefined && values.managementPort !== 0 && values.managementPort === values.port)
		problems.push("MANAGEMENT_PORT must be another port than PORT");
	if (values.refreshIdleDays > values.refreshAbsoluteDays)
		problems.push("REFRESH_IDLE_DAYS must not be longer than REFRESH_ABSOLUTE_DAYS");
	if ((values.bootstrapUsername === undefined) !== (values.bootstrapPassword === undefined))
		problems.push("BOOTSTRAP_USERNAME and BOOTSTRAP_PASSWORD go together; set both or neither");
	return Object.freeze(values);
}

/** The setting's value as `config` and the start-up log may show it. */
export function shown(key: Key, value: unknown): string {
	const unset = value === undefined || (Array.isArray(value) && value.length === 0);
	if (unset) return (settings[key].fallbackDoc ?? "").replaceAll("`", "");
	if ("secret" in settings[key]) return "********";
	if (Array.isArray(value)) return value.join(",");
	if (typeof value === "boolean") return value ? "on" : "off";
	return String(value);
}

/** Host and port as a person can open them: an unspecified address becomes localhost, IPv6 gets its brackets. */
export function browsable(host: string, port: number): string {
	const open = host === "0.0.0.0" || host === "::" ? "localhost" : host;
	return `http://${isIP(open) === 6 ? `[${open}]` : open}:${port}`;
}
