/** Sets of settings, and what is wrong with them. */
import type { Test } from "tap";
import { type Config, ConfigError, loadConfig } from "../../src/config/config.ts";

export type Environment = Record<string, string>;

/** A secret that no test of the store's contents has to know. */
export const testSecret = "dGVzdCBydW4gb25seSwgbm90aGluZyB0byBoaWRl/9qX";

export const postgres = { DATABASE_URL: "postgres://gatehouse:hidden-word@db.example.com/gatehouse" };

/** What is wrong with these settings. */
export function problems(environment: Environment): readonly string[] {
	try {
		loadConfig(environment);
		return [];
	} catch (error) {
		if (error instanceof ConfigError) return error.problems;
		throw error;
	}
}

/** Asserts that one problem is reported, that it begins with the setting's name, and that no value is shown. */
export function refused(t: Test, name: string, value: string, reason: RegExp | string, more: Environment = {}): void {
	const found = problems({ ...more, [name]: value });
	t.equal(found.length, 1, `${name} is refused: ${found.join(" | ")}`);
	t.match(found[0], reason);
	t.ok(found[0]?.startsWith(name), "by its name");
	if (value.length > 4) t.notOk(found[0]?.includes(value), "without its value");
}

/** Asserts that nothing is wrong, and what comes of it. */
export const accepted = (t: Test, environment: Environment, expected: Partial<Config> = {}) => {
	t.same(problems(environment), [], JSON.stringify(environment));
	t.match(loadConfig(environment).config, expected);
};
