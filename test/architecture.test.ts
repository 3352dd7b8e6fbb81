/** The house plan, kept: who may import whom (docs/architecture.md), and what autoload would silently get wrong. */
import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import t from "tap";

const root = resolve(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const filesOf = (...folders: string[]): string[] =>
	globSync(
		folders.map((folder) => `${folder}/**/*.ts`),
		{ cwd: root },
	).sort();

interface Import {
	/** A package's name, or the path of a file of ours from the project's folder. */
	target: string;
	/** Erased before it runs: it ties nobody to anything. */
	isType: boolean;
}

/** What a source imports; tests give it the text, so that every rule below is seen to fail as well. */
const importsOf = (path: string, source: string): Import[] => {
	const statements = source.matchAll(
		/^\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|(?:\bimport|\bcreateRequire\([^)]*\))\(\s*"([^"]+)"/gm,
	);
	return [...statements].map(([, type, fixed, dynamic]) => {
		const specifier = fixed ?? dynamic ?? "";
		const target = specifier.startsWith(".") ? join(dirname(path), specifier) : specifier;
		return { target, isType: type !== undefined };
	});
};

const isFastify = (target: string): boolean => /^(fastify|fastify-plugin|@fastify\/.*)$/.test(target);
const isDriver = (target: string): boolean => target === "pg" || target === "node:sqlite";
const isIn = (target: string, ...folders: string[]): boolean =>
	folders.some((folder) => target.startsWith(`${folder}/`));

/** The packages `src/app.ts` may import on top of what all of `src` may. */
const appPackages = ["fastify", "@fastify/autoload", "@fastify/type-provider-typebox"];
/** What the lowest room stands on: nothing else of `src` may run inside the store. */
const belowStore = ["src/errors.ts", "src/clock.ts", "src/random.ts", "src/metrics/histogram.ts"];

/** Why a file may not import a target, or undefined when it may. */
const objection = (path: string, { target, isType }: Import): string | undefined => {
	if (isIn(target, "fastify") && path !== "plugins/front.ts") return "only plugins/front.ts looks inside Fastify";
	if (isDriver(target) && !isIn(path, "src/store")) return "only src/store imports a database driver";
	if (isIn(path, "src")) {
		if (isIn(target, "plugins", "routes")) return "src knows neither plugins nor routes";
		const isAllowed = target === "@fastify/error" || (path === "src/app.ts" && appPackages.includes(target));
		if (isFastify(target) && !isAllowed) return "src knows no HTTP";
		if (target === "pino" && !isType && path !== "src/log.ts") return "src/log.ts makes the log";
	}
	if (isIn(path, "src/store") && isIn(target, "src") && !isType) {
		if (!isIn(target, "src/store") && !belowStore.includes(target)) return "the store imports nothing above it";
	}
	if (isIn(path, "plugins")) {
		if (isIn(target, "plugins")) return "a plugin names another in `dependencies`";
		if (isIn(target, "routes")) return "a plugin imports no route";
	}
	if (isIn(path, "routes")) {
		if (isIn(target, "plugins")) return "a route reaches plugins through the instance";
		if (isIn(target, "routes")) return "a route imports no other route";
		if (isIn(target, "src/store")) return "a route reaches the store through app.services";
	}
	return undefined;
};

const objections = (path: string, source: string): string[] =>
	importsOf(path, source).flatMap((found) => {
		const reason = objection(path, found);
		return reason === undefined ? [] : [`${path} imports ${found.target}: ${reason}`];
	});

t.test("every file imports only what its room may", async (t) => {
	t.same(
		filesOf("src", "plugins", "routes").flatMap((path) => objections(path, read(path))),
		[],
	);
});

t.test("each rule of the import table refuses its example", async (t) => {
	const refused: [path: string, source: string][] = [
		["src/users.ts", 'import { fastify } from "fastify";'],
		["src/users.ts", 'import {\n\tsign,\n} from "@fastify/jwt";'],
		["src/users.ts", 'const jwt = await import("@fastify/jwt");'],
		["src/users.ts", 'import { Pool } from "pg";'],
		["src/users.ts", 'import "../plugins/auth.ts";'],
		["src/users.ts", 'import { pino } from "pino";'],
		["src/app.ts", 'import login from "../routes/login.ts";'],
		["src/app.ts", 'import jwt from "@fastify/jwt";'],
		["src/store/store.ts", 'import { createUsers } from "../users.ts";'],
		["plugins/auth.ts", 'import jwt from "./jwt.ts";'],
		["plugins/auth.ts", 'const { kReply } = createRequire(import.meta.url)("fastify/lib/symbols.js");'],
		["plugins/auth.ts", 'export { default } from "../routes/login.ts";'],
		["routes/admin/users.ts", 'import login from "../login.ts";'],
		["routes/login.ts", 'import auth from "../plugins/auth.ts";'],
		["routes/login.ts", 'import { openStore } from "../src/store/store.ts";'],
	];
	for (const [path, source] of refused) t.equal(objections(path, source).length, 1, `${path}: ${source}`);
	const allowed: [path: string, source: string][] = [
		["src/app.ts", 'import { fastify } from "fastify";\nimport autoload from "@fastify/autoload";'],
		["src/errors.ts", 'import createError from "@fastify/error";'],
		["src/users.ts", 'import type { Logger } from "pino";'],
		["src/store/store.ts", 'import { Pool } from "pg";\nimport { errors } from "../errors.ts";'],
		["routes/login.ts", 'import { Credentials } from "../src/credentials.ts";'],
	];
	for (const [path, source] of allowed) t.same(objections(path, source), [], `${path}: ${source}`);
});

t.test("a plugin brings in one package of Fastify's", async (t) => {
	for (const path of filesOf("plugins")) {
		const families = importsOf(path, read(path))
			.filter(({ target, isType }) => target.startsWith("@fastify/") && target !== "@fastify/error" && !isType)
			// The viewer belongs to the page it shows.
			.map(({ target }) => target.replace(/-ui$/, ""));
		t.ok(new Set(families).size <= 1, `${path}: ${families.join(", ") || "none"}`);
	}
});

/** What fastify-plugin leaves on a function it has wrapped. */
type Loaded = { [key: symbol]: unknown };
const load = async (path: string): Promise<Loaded | undefined> =>
	((await import(join(root, path))) as { default?: Loaded }).default;
const isWrapped = (loaded: Loaded | undefined): boolean => loaded?.[Symbol.for("skip-override")] === true;

t.test(
	"a plugin is wrapped by fastify-plugin under its file's name: autoload drops the second of a name",
	async (t) => {
		for (const path of filesOf("plugins")) {
			const plugin = await load(path);
			t.ok(isWrapped(plugin), `${path} is wrapped`);
			t.match(plugin?.[Symbol.for("plugin-meta")], { name: basename(path, ".ts") }, `${path} is named after its file`);
			t.equal(dirname(path), "plugins", `${path}: the folder is flat`);
		}
	},
);

t.test("a route has a default export that is not wrapped: a wrapped one loses its prefix", async (t) => {
	for (const path of filesOf("routes")) {
		const route = await load(path);
		t.type(route, "function", `${path} exports a function`);
		t.notOk(isWrapped(route), `${path} is not wrapped`);
	}
});

t.test("no route hides in an index file, and no hook in an autohooks file", async (t) => {
	t.same(
		filesOf("routes", "plugins").filter((path) => /^(index|.*autohooks)\.ts$/.test(basename(path))),
		[],
	);
});

t.test("file names are kebab-case, and no file passes 250 lines", async (t) => {
	const all = filesOf("src", "plugins", "routes", "test", "bench");
	t.same(
		all.filter((path) => !/^([a-z0-9]+(-[a-z0-9]+)*\/)*[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.ts$/.test(path)),
		[],
		"kebab-case",
	);
	const long = filesOf("src", "plugins", "routes").filter((path) => read(path).trimEnd().split("\n").length > 250);
	t.same(long, [], "at most 250 lines");
});

/** Files that Git keeps or would keep; undefined where this is not a clone. */
const keptFiles = (): string[] | undefined => {
	const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
	try {
		return execFileSync("git", list, {
			cwd: root,
			encoding: "utf8",
			stdio: "pipe",
		})
			.split("\0")
			.filter(Boolean);
	} catch {
		return undefined;
	}
};

t.test("no file names a package registry or a path of one machine", async (t) => {
	const forbidden = [
		/\bnpmjs\.(org|com)\b/,
		/\byarnpkg\.com\b/,
		/https?:\/\/[^/\s"]*registry/,
		/(^|[\s"'`(=:])\/work\//m,
	];
	t.ok(forbidden[0]?.test(["npmjs", "org"].join(".")), "the pattern finds a registry");
	t.ok(forbidden[3]?.test(["see ", "work", "main"].join("/")), "the pattern finds a path");
	const files = keptFiles();
	if (files === undefined) return t.comment("not a clone: nothing to look through");
	const present = globSync(files, { cwd: root });
	const guilty = present.filter((path) => {
		const text = read(path);
		return !text.includes("\0") && forbidden.some((pattern) => pattern.test(text));
	});
	t.same(guilty, []);
});
