/** docs/operations.md, kept true: the bounds that are not settings, the settings and the commands that it names. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { daySeconds } from "../src/clock.ts";
import { settings } from "../src/config/config.ts";
import { errors } from "../src/errors.ts";
import { table } from "../src/metrics/table.ts";
import { deviceSeconds } from "../src/throttle/device-token.ts";

const root = resolve(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const page = read("docs/operations.md");
const gatehouse = (...words: string[]): string =>
	execFileSync(process.execPath, [join(root, "src/main.ts"), ...words], { encoding: "utf8", env: {} });

/** What a unit of the page is, in the unit of a constant of this name. */
function inUnitOf(constant: string, value: string, unit = ""): number {
	const isMilliseconds = /(Ms|_MS|Timeout)$/.test(constant);
	const factor = { s: isMilliseconds ? 1000 : 1, KiB: 1024, "": 1 }[unit];
	if (factor === undefined) throw new Error(`${unit} is no unit of this page`);
	return Number(value) * factor;
}

/** The number that the code gives a constant or a member. */
function constantIn(path: string, name: string): number {
	const [, product = ""] = new RegExp(`\\b${name}(?: =|:) ([0-9_* .]+)[;,}\\s]`).exec(read(path)) ?? [];
	return product
		.split("*")
		.map((factor) => Number(factor.replaceAll("_", "").trim() || Number.NaN))
		.reduce((all, factor) => all * factor);
}

t.test("K08: limits, timeouts and pool sizes that are no settings are documented as the code has them", async (t) => {
	const [, section = ""] = page.split("\n## Limits and timeouts\n");
	const rows = (section.split("\n## ")[0] ?? "")
		.split("\n")
		.filter((line) => line.startsWith("| ") && /`src|`plugins/.test(line));
	t.ok(rows.length > 20, "there are many");
	for (const row of rows) {
		const [, value = "", unit, path = "", name = ""] =
			/\| ([\d.]+)(?: (\w+))? \| `([^`]+)` `(\w+)` \|$/.exec(row) ?? [];
		if (t.ok(name, row)) t.equal(constantIn(path, name), inUnitOf(name, value, unit), row);
	}
});

t.test("SECRET_PREVIOUS stays for as long as anything that was made under it is good", async (t) => {
	const [, section = ""] = page.split("\n### SECRET\n");
	const step = section.split("\n### ")[0] ?? "";
	t.match(step, `After ${deviceSeconds / daySeconds} days take \`SECRET_PREVIOUS\` away`, "device tokens");
	t.match(step, "or after `REFRESH_IDLE_DAYS` where that is longer", "refresh tokens");
});

t.test("K08: every setting is in the README's table, printed by config, and those named here exist", async (t) => {
	const printed = JSON.parse(gatehouse("config", "--json")) as { name: string; value: string }[];
	const readme = read("README.md");
	t.same(
		printed.map(({ name }) => name),
		Object.values(settings).map(({ name }) => name),
		"config prints them all",
	);
	for (const { name } of printed) t.ok(readme.includes(`| \`${name}\` |`), `${name} is documented`);
	const known = new Set(printed.flatMap(({ name }) => [name, `${name}_FILE`]));
	// What OpenTelemetry's exporter reads by itself.
	const ofExporter = ["HEADERS", "CERTIFICATE", "COMPRESSION"].map((name) => `OTEL_EXPORTER_OTLP_${name}`);
	// Names that look like settings: refusals, and constants of the table above.
	const isOther = (name: string) =>
		Object.hasOwn(errors, name) || [...ofExporter, "OTEL_"].includes(name) || page.includes(`.ts\` \`${name}\` |`);
	for (const [, name = ""] of page.matchAll(/`([A-Z][A-Z_]{2,})(?:=[^`]*)?`/g))
		t.ok(known.has(name) || isOther(name), `${name} is a setting`);
});

t.test("the table of metrics is the one in src/metrics/table.ts, in its order", async (t) => {
	const [, section = ""] = page.split("\n## Metrics, alerts, traces\n");
	const rows = (section.split(/\n##+ /)[0] ?? "").split("\n").filter((line) => line.startsWith("| `"));
	t.same(
		rows,
		table.map(({ name, type, help, label }) => `| \`${name}\` | ${type} | ${help} | ${label ? `\`${label}\`` : ""} |`),
	);
});

t.test("the reasons for a refused token are those that the log says", async (t) => {
	const [, section = ""] = page.split("\n### Most tokens are refused\n");
	const rows = (section.split("\n### ")[0] ?? "").split("\n").filter((line) => line.startsWith("| `"));
	const reasons = rows.flatMap((row) => [...(row.split(" | ")[0] ?? "").matchAll(/`([^`]+)`/g)]);
	t.ok(reasons.length > 5, "there are some");
	const said = read("src/tokens.ts") + read("src/sessions/refresh.ts");
	for (const [, reason = ""] of reasons) for (const part of reason.split("…")) t.ok(said.includes(part), reason);
});

t.test("every command that docs/operations.md names is one", async (t) => {
	const usage = gatehouse("help");
	const commands = [...page.matchAll(/(?:`|^|-- )gatehouse ([a-z]+)(?: ([a-z]+))?/gm)];
	t.ok(commands.length > 20, "there are many");
	for (const [, command = "", verb] of commands) {
		t.match(usage, new RegExp(`^ {2}${command} `, "m"), `gatehouse ${command}`);
		if (verb) t.match(usage, new RegExp(`( {2}${command} | \\| )${verb}\\b`), `gatehouse ${command} ${verb}`);
	}
});
