/** The management listener of the real process: off unless asked for, open first and last, and nothing of it in public. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import t, { type Test } from "tap";
import { freePort } from "../support/free-port.ts";
import { launchServer, type Running, rootAccount, run, startServer, testSecret } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

const settings = (t: Test, more: Record<string, string> = {}) => ({
	DATA_DIR: temporaryFolder(t),
	...rootAccount,
	...more,
});

/** Where the management listener of this process is. */
const managementOf = async (server: Running): Promise<string> => {
	const [, url = ""] = await server.until(/"url":"([^"]+)"[^\n]*"the management listener is open"/);
	return url;
};

const status = async (url: string): Promise<number> => (await fetch(url)).status;

t.test("metrics and probes have a listener of their own, which answers nothing else", async (t) => {
	const server = await startServer(t, settings(t, { MANAGEMENT_PORT: "0", DRAIN_SECONDS: "2" }));
	const management = await managementOf(server);
	t.match(management, /^http:\/\/127\.0\.0\.1:/, "this machine's own address, unless told otherwise");
	t.not(management, server.url);

	const metrics = await fetch(`${management}/metrics`);
	t.equal(metrics.status, 200);
	t.equal(metrics.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
	const text = await metrics.text();
	t.match(text, /^gatehouse_ready\{status="ok"\} 1$/m);
	t.match(text, /^process_cpu_seconds_total \d/m);
	for (const path of ["/livez", "/startupz", "/readyz"]) {
		const inPrivate = await fetch(`${management}${path}`);
		const inPublic = await fetch(`${server.url}${path}`);
		t.equal(inPrivate.status, 200, path);
		t.equal(await inPrivate.text(), await inPublic.text(), `${path} says the same on both`);
	}

	for (const path of ["/", "/login", "/protected", "/docs", "/metrics/", "/constructor", "//metrics"]) {
		const refused = await fetch(`${management}${path}`);
		t.equal(refused.status, 404, path);
		t.match(await refused.json(), { statusCode: 404, code: "NOT_FOUND" });
		t.equal(refused.headers.get("x-content-type-options"), "nosniff");
	}
	const posted = await fetch(`${management}/metrics`, { method: "POST", body: "x" });
	t.equal(posted.status, 405);
	t.equal(posted.headers.get("allow"), "GET, HEAD");

	server.signal("SIGTERM");
	await server.until(/"draining"/);
	t.equal(await status(`${management}/livez`), 200, "it lives while it drains");
	const draining = await fetch(`${management}/readyz`);
	t.equal(draining.status, 503);
	t.match(await draining.json(), { status: "draining" });
	t.match(await (await fetch(`${management}/metrics`)).text(), /^gatehouse_ready\{status="draining"\} 1$/m);
	const { code, stderr } = await server.ended;
	t.same({ code, stderr }, { code: 0, stderr: "" }, "who has a connection open does not hold up the end");
});

t.test("while the store is not open yet, the process lives, is not ready, and has metrics of itself", async (t) => {
	// An address that takes connections and never answers: the start waits for it.
	const silent = createServer((socket) => void socket.on("error", () => {})).listen(0, "127.0.0.1");
	await once(silent, "listening");
	t.teardown(() => silent.close());
	const { port } = silent.address() as AddressInfo;
	const server = launchServer(t, {
		MANAGEMENT_PORT: "0",
		DATABASE_URL: `postgres://nobody@127.0.0.1:${port}/none`,
		SECRET: testSecret,
	});
	const management = await managementOf(server);
	const [live, started, ready, metrics] = await Promise.all(
		["/livez", "/startupz", "/readyz", "/metrics"].map(async (path) => {
			const answer = await fetch(`${management}${path}`);
			return { status: answer.status, text: await answer.text() };
		}),
	);
	t.match(live, { status: 200, text: '{"status":"ok"}' });
	t.match(started, { status: 503, text: /"code":"STARTING"/ });
	t.match(ready, { status: 503, text: /"status":"starting"/ });
	t.match(metrics, { status: 200, text: /^process_cpu_seconds_total/m });
});

t.test("H10: metrics, documentation and administration are not on the public listener in production", async (t) => {
	const server = await startServer(
		t,
		settings(t, { NODE_ENV: "production", ISSUER: "https://login.example.com", DOCS: "", MANAGEMENT_PORT: "0" }),
	);
	const paths = [
		...["/metrics", "/metrics/", "/METRICS", "//metrics", "/%6detrics", "/api/metrics", "/prometheus", "/-/metrics"],
		...["/management", "/management/metrics", "/manage", "/actuator", "/actuator/health", "/actuator/prometheus"],
		...[
			"/admin",
			"/admin/",
			"/admin/users",
			"/admin/keys",
			"/console",
			"/debug",
			"/debug/vars",
			"/debug/pprof",
			"/env",
		],
		...["/docs", "/docs/", "/docs/json", "/docs/yaml", "/documentation", "/swagger", "/swagger.json", "/swagger-ui"],
		...["/openapi.json", "/openapi.yaml", "/api-docs", "/redoc", "/graphql", "/status", "/info", "/health", "/healthz"],
		...[
			"/config",
			"/config.json",
			"/.env",
			"/.git/config",
			"/package.json",
			"/src/main.ts",
			"/server-status",
			"/trace",
		],
		...["/heapdump", "/profile", "/traces", "/jolokia", "/v1/metrics", "/stats", "/version"],
	];
	for (const path of paths) {
		const { status, headers } = await server.get(path);
		t.equal(status, 404, path);
		t.equal(headers.get("server"), null, `${path}: no word about what answers`);
	}
	t.equal(await status(`${server.url}/livez`), 200, "the probes stay");
	t.equal(await status(`${await managementOf(server)}/metrics`), 200, "and metrics are where they belong");
});

t.test("without MANAGEMENT_PORT nothing more listens, and with a wrong one nothing starts", async (t) => {
	const server = await startServer(t, settings(t));
	t.notMatch(server.stdout(), /management/);

	const same = await run(t, ["config"], { PORT: "3000", MANAGEMENT_PORT: "3000" });
	t.equal(same.code, 2);
	t.match(same.stderr, "MANAGEMENT_PORT must be another port than PORT");

	const port = await freePort();
	const first = await startServer(t, settings(t, { MANAGEMENT_PORT: String(port) }));
	const second = await launchServer(t, settings(t, { MANAGEMENT_PORT: String(port) })).ended;
	t.equal(second.code, 1);
	t.match(second.stderr, /cannot open 127\.0\.0\.1:\d+ \(EADDRINUSE\)\. Give MANAGEMENT_HOST or MANAGEMENT_PORT/);
	t.equal((await first.get("/livez")).status, 200);
});
