/** The lowest Node line that package.json allows: the service starts on it without a warning, and the suite passes. Row K09. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startPostgres } from "../support/postgres.ts";
import { project } from "../support/process.ts";
import { progress } from "../support/rounds.ts";
import { temporaryFolder } from "../support/stores.ts";
import { makeTables } from "../support/template.ts";
import { startUnder } from "./support/single.ts";
import { filesOf, runSuite } from "./support/suite.ts";

const { engines } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as { engines: { node: string } };
const [, line = ""] = /^>=(\d+)$/.exec(engines.node) ?? [];
// What the package `node` would install here; without its script.
const name = `node-${process.platform}-${process.arch}`;

/** Installs it into a folder that goes with the test; `undefined` where npm cannot. */
function installNode(t: Test): string | undefined {
	const folder = temporaryFolder(t);
	const words = ["install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", `${name}@${line}`];
	try {
		execFileSync("npm", words, { cwd: folder, stdio: "pipe" });
		return join(folder, "node_modules", name, "bin/node");
	} catch {
		return undefined;
	}
}

t.test(`K09: on Node ${line}, the lowest line that is supported`, async (t) => {
	const node = installNode(t);
	if (node === undefined) {
		t.plan(0, `needs the package ${name}@${line}, which npm could not install here`);
		return;
	}
	const version = execFileSync(node, ["--version"], { encoding: "utf8" }).trim();
	t.match(version, new RegExp(`^v${line}\\.`));

	await t.test("it starts, logs in, refreshes, checks and ends", async (t) => {
		const server = await startUnder(t, ["env"], { DRAIN_SECONDS: "1" }, node);
		const pair = await server.pairFor("root");
		t.equal((await server.get("/protected", pair.access_token)).status, 200);
		t.equal((await server.get("/me", pair.access_token)).status, 200);
		t.equal((await server.post("/refresh", { refresh_token: pair.refresh_token })).status, 200);
		t.equal((await server.login("root", "something else entirely")).status, 401);
		t.equal((await server.get("/readyz")).status, 200);
		const { hostname, port } = new URL(server.url);
		const unused = connect(Number(port), hostname);
		t.teardown(() => unused.destroy());
		await once(unused, "connect");
		const began = performance.now();
		server.signal("SIGTERM");
		const { code, stderr } = await server.ended;
		t.same({ code, stderr }, { code: 0, stderr: "" }, "without a warning");
		const tookMs = performance.now() - began;
		t.ok(tookMs < 4000, `a connection on which nothing has come did not hold it: ${Math.round(tookMs)} ms`);
	});

	await t.test("the suite passes", async (t) => {
		const postgres = await startPostgres();
		t.teardown(() => postgres.stop());
		await makeTables(postgres.url);
		const { passed, failures } = await runSuite(t, { server: postgres.url, files: filesOf(project), node });
		progress(`${version}: ${passed} assertions`);
		t.equal(failures, "");
		t.ok(passed > 1000, `${passed} assertions`);
	});
});
