/**
 * Each requirement for sessions and for replicas and each fault is named by a test, or by the page of the cluster tests with
 * a reason.
 */
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";

const root = resolve(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** `R01` to `R14` and so on, written out. */
const range = (letter: string, from: number, to: number): string[] =>
	Array.from({ length: to - from + 1 }, (_, index) => `${letter}${String(from + index).padStart(2, "0")}`);

const rows = [
	...["T15", "T22"],
	...range("F", 1, 16),
	...["V01", ...range("V", 3, 8), "V10"],
	...range("C", 1, 10),
	...["B03", "W03", "W09"],
	...range("J", 1, 8),
	...["J10", "L03", "L14", "L21", "H14", "H18"],
	...range("R", 1, 14),
	...["V02", "V09", "Z01"],
	...range("Z", 5, 15),
	...range("Z", 17, 25),
	...range("Z", 27, 30),
	...["H05", "H10", "H20", "H21", "G01", "G06", "G07"],
	...range("K", 6, 9),
];
const faults = Array.from({ length: 33 }, (_, index) => index + 1);

/** What titles begin with: `F03, F09: …`, `SQLite: V05: …`. No comment and no other text begins so within quotes. */
const titles = globSync("test/**/*.test.ts", { cwd: root })
	.filter((path) => path !== "test/requirements.test.ts")
	.flatMap((path) => [
		...read(path).matchAll(/["`](?:\$\{kind\}: )?((?:(?:[A-Z]\d\d|faults? \d+|\d+)(?:, | and |: ))+)/gi),
	])
	.map(([, named]) => named)
	.join("\n");
/** The table on the page of the cluster tests: a row or a fault, and where it is shown or why it is not. */
const table = new Map(
	read("test/cluster/README.md")
		.split("\n")
		.map((line) => line.split("|").map((cell) => cell.trim()))
		.filter((cells) => cells.length === 4)
		.flatMap(([, names = "", where = ""]) => names.split(", ").map((name): [string, string] => [name, where])),
);

/** `fault 3`, `Fault 3:`, and `faults 1, 3 and 4`. */
const faultsNamed = new Set(
	[...titles.matchAll(/\bfaults? (\d+(?:(?:, | and )\d+)*)/gi)].flatMap(([, list = ""]) =>
		list.split(/\D+/).map(Number),
	),
);

for (const row of rows)
	t.ok(new RegExp(`\\b${row}\\b`).test(titles) || table.has(row), `${row} is named by a test, or on the page`);
for (const fault of faults)
	t.ok(faultsNamed.has(fault) || table.has(`fault ${fault}`), `fault ${fault} is named by a test, or on the page`);

t.test("what the page of the cluster tests points to is there, and every file of them is on it", async (t) => {
	for (const [name, where] of table)
		for (const [, path = ""] of where.matchAll(/`([^`]+\.test\.ts)`/g)) {
			const file = path.includes("/") ? path : `test/cluster/${path}`;
			t.ok(globSync(file, { cwd: root }).length > 0, `${name}: ${file}`);
		}
	const page = read("test/cluster/README.md");
	for (const path of globSync("test/cluster/*.test.ts", { cwd: root }))
		t.ok(page.includes(`\`${path.replace("test/cluster/", "")}\``), `${path} is on the page`);
});
