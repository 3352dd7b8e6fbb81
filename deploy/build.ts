/**
 * Makes the JavaScript that the image runs: `node deploy/build.ts FOLDER`. A start spends most of its time on finding and
 * reading files, and Kysely and TypeBox alone are 490: so they and our own modules are put together into a few. The
 * entries stay files of their own, because autoload finds plugins and routes by their folders. Types are checked before.
 */
import { globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build as bundle } from "esbuild";

const root = join(import.meta.dirname, "..");
/** Packages of hundreds of small modules. All others stay in node_modules: they are few files, CommonJS, or native. */
const bundled = ["kysely", "@sinclair/typebox"];

/** Builds into an emptied folder; `others` are more files to build, named from the project's root. */
export async function build(folder: string, others: readonly string[] = []): Promise<void> {
	const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { dependencies: object };
	rmSync(folder, { recursive: true, force: true });
	const files = globSync("{plugins,routes}/**/*.ts", { cwd: root });
	const entries = ["src/main.ts", ...files, ...others].map((file) => [file.replace(/\.ts$/, ""), join(root, file)]);
	await bundle({
		// The pool looks for its thread beside the file that it is itself a part of.
		entryPoints: Object.fromEntries([...entries, ["src/worker", join(root, "src/passwords/worker.ts")]]),
		outdir: folder,
		chunkNames: "src/[name]-[hash]",
		bundle: true,
		splitting: true,
		format: "esm",
		platform: "node",
		target: "es2024",
		external: Object.keys(dependencies).filter((name) => !bundled.includes(name)),
		logLevel: "warning",
	});
}

const [, script, folder] = process.argv;
if (script === import.meta.filename && folder !== undefined) await build(folder);
