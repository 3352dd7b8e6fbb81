/** The lowest Node line that package.json allows: the service starts on it and does its work. The tests run on a newer one. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { project } from "../support/process.ts";
import { progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { startUnder } from "./support/single.ts";

const { engines } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as { engines: { node: string } };
const [, line = ""] = /^>=(\d+)$/.exec(engines.node) ?? [];

t.test(
	`K09: on Node ${line}, the lowest line that is supported, it starts, logs in, refreshes, checks and ends`,
	async (t) => {
		const folder = temporaryFolder(t);
		// What the package `node` would install here; without its script.
		const name = `node-${process.platform}-${process.arch}`;
		try {
			execFileSync("npm", ["install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", `${name}@${line}`], {
				cwd: folder,
				stdio: "pipe",
			});
		} catch {
			t.plan(0, `needs the package ${name}@${line}, which npm could not install here`);
			return;
		}
		const node = join(folder, "node_modules", name, "bin/node");
		const version = execFileSync(node, ["--version"], { encoding: "utf8" }).trim();
		t.match(version, new RegExp(`^v${line}\\.`));
		const server = await startUnder(t, ["env"], {}, node);
		progress(version);
		const pair = await server.pairFor("root");
		t.equal((await server.get("/protected", pair.access_token)).status, 200);
		t.equal((await server.get("/me", pair.access_token)).status, 200);
		t.equal((await server.post("/refresh", { refresh_token: pair.refresh_token })).status, 200);
		t.equal((await server.login("root", "something else entirely")).status, 401);
		t.equal((await server.get("/readyz")).status, 200);
		server.signal("SIGTERM");
		const { code, stderr } = await server.ended;
		t.same({ code, stderr }, { code: 0, stderr: "" }, "without a warning");
	},
);
