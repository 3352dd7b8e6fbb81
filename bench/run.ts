/**
 * `npm run bench [-- FIGURE…] [--rounds N]`: measures, prints a table, writes bench/results/latest.json.
 * A missed bar is a result and ends with 0; only a measurement that broke ends with 1.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { clusterFigures } from "./figures/cluster.ts";
import { flood } from "./figures/flood.ts";
import { guesses } from "./figures/guesses.ts";
import { manyUsers } from "./figures/many-users.ts";
import { refusals } from "./figures/refusals.ts";
import { requestFigures } from "./figures/requests.ts";
import { sessionFigures } from "./figures/sessions.ts";
import { start } from "./figures/start.ts";
import { wake } from "./figures/wake.ts";
import { generator } from "./load.ts";
import type { Row } from "./measure.ts";
import { canPin } from "./processes.ts";

const figures = [
	...requestFigures,
	...sessionFigures,
	...clusterFigures,
	flood,
	guesses,
	refusals,
	start,
	manyUsers,
	wake,
];
const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: "string" } } });
const names = figures.map(({ name }) => name);
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0 || (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))) {
	console.error(`npm run bench [-- FIGURE…] [--rounds N]\nFigures: ${names.join(", ")}`);
	process.exit(2);
}

const conditions = {
	node: process.version,
	processor: `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores`,
	load: `${generator}, ${canPin ? "on another core than the server" : "not bound to a core"}`,
	// What others do on this machine: it should be near 0.
	loadAverageBefore: loadavg()[0],
};
const folder = join(import.meta.dirname, "results");
const file = join(folder, "latest.json");
mkdirSync(folder, { recursive: true });
for (const figure of figures) {
	if (positionals.length > 0 && !positionals.includes(figure.name)) continue;
	const count = rounds ?? figure.rounds;
	process.stderr.write(`${figure.name}, ${count} rounds: `);
	const begin = performance.now();
	const rows = await figure.run(count, () => process.stderr.write("."));
	process.stderr.write("\n");
	const minutes = Number(((performance.now() - begin) / 60_000).toFixed(1));
	const measured = { ...conditions, date: new Date().toISOString(), loadAverageAfter: loadavg()[0], minutes, rows };
	writeFileSync(file, `${JSON.stringify({ ...latest(), [figure.name]: measured }, null, "\t")}\n`);
}
const all = latest();
console.log(`\n${table(names.flatMap((name) => all[name]?.rows ?? []))}\n`);
const listed = Object.entries({ ...conditions, loadAverageAfter: loadavg()[0] }).map((pair) => pair.join(": "));
console.log(`Medians, in brackets the quartiles. ${listed.join("; ")}.`);
console.log("Figures that were not measured now are the last ones known. Every round: bench/results/latest.json");

/** What is known of each figure: those that are measured now take the place of their own earlier ones only. */
function latest(): Record<string, { rows: Row[] }> {
	return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, { rows: Row[] }>) : {};
}

/** Markdown, readable as it stands. */
function table(all: readonly Row[]): string {
	const verdict = (met: boolean | undefined) => (met === undefined ? "" : met ? "met" : "NOT MET");
	const cells = [
		["figure", "measured", "bar", "", "in absolute numbers"],
		...all.map(({ figure, measured, bar, met, detail }) => [figure, measured, bar, verdict(met), detail]),
	];
	const widths = cells[0]?.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0))) ?? [];
	const [head = "", ...body] = cells.map(
		(row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`,
	);
	return [head, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body].join("\n");
}
