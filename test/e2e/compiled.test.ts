/** What the image runs: JavaScript that `npm run build` made, with its hashing thread in a file of another name. */
import { readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { environment, project, rootAccount, start, startServer } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

t.test(
	"the compiled service hashes a password, opens a protected route, and holds no source and no test",
	async (t) => {
		const folder = temporaryFolder(t);
		const dist = join(folder, "dist");
		// As `npm run build` does, into a folder of this test: others may be using dist/.
		const built = await start(t, process.execPath, [join(project, "deploy/build.ts"), dist], { env: environment({}) })
			.ended;
		t.hasStrict(built, { code: 0, stdout: "", stderr: "" }, "the build has nothing to say");
		symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
		symlinkSync(join(project, "package.json"), join(folder, "package.json"));

		const files = readdirSync(dist, { recursive: true, withFileTypes: true })
			.filter((entry) => entry.isFile())
			.map(({ parentPath, name }) => join(parentPath, name).slice(dist.length + 1));
		t.same(
			files.filter((file) => !file.endsWith(".js")),
			[],
			"only JavaScript",
		);
		t.same([...new Set(files.map((file) => file.split("/")[0]))].sort(), ["plugins", "routes", "src"]);
		t.ok(files.includes("src/worker.js"), "the hashing thread is a file of its own");

		const settings = { DATA_DIR: join(folder, "data"), DOCS: "on", ...rootAccount };
		const server = await startServer(t, settings, [join(dist, "src/main.js")]);
		t.equal((await server.login("root", "something else entirely")).status, 401);
		const answer = await server.get("/protected", await server.tokenFor("root"));
		t.match(await answer.json(), { message: /^Protected route for user: / });
		const docs = (await (await server.get("/docs/json")).json()) as { paths: object };
		t.match(Object.keys(docs.paths), ["/livez"]);
		server.signal("SIGINT");
		t.equal((await server.ended).code, 0);
	},
);
