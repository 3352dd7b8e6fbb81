/** Start-up time and memory are measured: a process pays for the one driver it uses. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import { onEachStore } from "../../support/stores.ts";

const run = promisify(execFile);

onEachStore((kind, open) => {
	t.test(`${kind}: the other driver is not loaded`, async (t) => {
		const script = `
			const { registerHooks } = await import("node:module");
			const loaded = [];
			registerHooks({ resolve(specifier, context, next) { loaded.push(specifier); return next(specifier, context); } });
			const { openStore } = await import(${JSON.stringify(import.meta.resolve("../../../src/store/store.ts"))});
			const store = await openStore({ ...JSON.parse(process.argv[1]), clock: { now: () => 1 } });
			await store.close();
			console.log(JSON.stringify(["pg", "node:sqlite"].filter((name) => loaded.includes(name))));`;
		const { stdout } = await run(process.execPath, [
			"--input-type=module",
			"--eval",
			script,
			JSON.stringify(await open(t)),
		]);
		t.same(JSON.parse(stdout), [kind === "sqlite" ? "node:sqlite" : "pg"]);
	});
});
