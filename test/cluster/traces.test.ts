/** Traces of a real process, as a collector gets them: section 4 of the issue. */
import { join } from "node:path";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { type CollectedSpan, collector } from "../support/collector.ts";
import { freePort } from "../support/free-port.ts";
import { type RunningServer, rootAccount, type Settings, startServer } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

const json = { "content-type": "application/json" };

const serve = (t: Test, settings: Settings, program?: string[]): Promise<RunningServer> =>
	startServer(
		t,
		{ DATA_DIR: join(temporaryFolder(t), "data"), DRAIN_SECONDS: "0", ...rootAccount, ...settings },
		program,
	);

/** Ends it as a cluster does, and answers how many milliseconds it took to close, by its own log. */
async function end(t: Test, server: RunningServer): Promise<number> {
	server.signal("SIGTERM");
	t.equal((await server.ended).code, 0, "it ends well");
	const at = (message: string) => Date.parse(String(server.logged().find(({ msg }) => msg === message)?.time));
	return at("ended") - at("draining");
}

t.test("requests arrive as spans, with what they did below them, and with nothing that anybody typed", async (t) => {
	const stub = await collector(t);
	const server = await serve(t, {
		OTEL_EXPORTER_OTLP_ENDPOINT: `${stub.endpoint}/`,
		OTEL_SERVICE_NAME: "front-door",
		OTEL_RESOURCE_ATTRIBUTES: "unheard=of",
	});
	const { access_token, refresh_token } = await server.pairFor("root");
	t.equal((await server.get("/protected?note=Wd7query", access_token)).status, 200);
	t.equal((await server.login("Wd7username", "Wd7password-that-is-wrong")).status, 401);
	t.equal((await server.get("/Wd7path/nowhere")).status, 404);
	t.equal((await server.post("/password", { wd7field: "x" }, access_token)).status, 400);
	t.equal((await fetch(`${server.url}/login`, { method: "POST", body: "{", headers: json })).status, 400);
	for (const probe of ["/livez", "/startupz", "/readyz"]) t.equal((await server.get(probe)).status, 200);
	await end(t, server);

	const spans = stub.spans();
	t.match(stub.requests[0], /^POST \/v1\/traces /);
	t.match(stub.resources()[0], { "service.name": "front-door", "service.instance.id": /./ });
	const roots = spans.filter(({ kind }) => kind === 2);
	t.same(
		roots.map(({ name, attributes }) => [name, attributes["http.response.status_code"], attributes["error.type"]]),
		[
			["POST /login", 200, undefined],
			["GET /protected", 200, undefined],
			["POST /login", 401, "INVALID_CREDENTIALS"],
			["GET", 404, "NOT_FOUND"],
			["POST /password", 400, "VALIDATION_FAILED"],
			["POST /login", 400, "MALFORMED_REQUEST"],
		],
	);
	t.ok(
		roots.every(({ parentSpanId }) => !parentSpanId),
		"each is a trace of its own",
	);
	t.equal(new Set(roots.map(({ traceId }) => traceId)).size, roots.length);
	t.match(roots[0]?.attributes, { "http.request.method": "POST", "http.route": "/login" });

	const below = (root: CollectedSpan | undefined) => spans.filter(({ parentSpanId }) => parentSpanId === root?.spanId);
	const names = below(roots[0]).map(({ name }) => name);
	t.ok(names.includes("password verify") && names.includes("select") && names.includes("insert"), names.join());
	t.match(below(roots[0]).find(({ name }) => name === "insert")?.attributes, {
		"db.system.name": "sqlite",
		"db.operation.name": "insert",
	});
	t.ok(below(roots[2]).some(({ name }) => name === "password verify"));
	t.same(below(roots[1]), [], "checking a token asks nobody");
	for (const root of roots)
		for (const span of below(root)) {
			t.equal(span.traceId, root.traceId);
			t.ok(BigInt(span.startTimeUnixNano) >= BigInt(root.startTimeUnixNano) - 2_000_000n, "begins within its request");
			t.ok(BigInt(span.endTimeUnixNano) <= BigInt(root.endTimeUnixNano) + 2_000_000n, "ends within it");
		}
	t.equal(spans.length, roots.length + roots.flatMap(below).length, "nothing else is traced");

	const allowed = /^(http\.(request\.method|route|response\.status_code)|error\.type|db\.(system|operation)\.name)$/;
	for (const { attributes } of spans)
		t.same(
			Object.keys(attributes).filter((key) => !allowed.test(key)),
			[],
		);
	const secrets = [access_token, refresh_token, goodPassword, encodeURIComponent(goodPassword), "root", "127.0.0.1:"];
	const exported = stub.raw().replaceAll(stub.endpoint.slice("http://".length), "");
	for (const secret of secrets) t.notOk(exported.includes(secret), `without ${secret.slice(0, 12)}`);
	t.notMatch(exported, /wd7/i);
	t.notMatch(exported, /unheard/);

	const lines = server.logged().filter(({ reqId }) => reqId !== undefined);
	t.same(
		lines.map(({ trace_id }) => trace_id),
		[roots[0], roots[2], roots[3], roots[4], roots[5]].map((root) => root?.traceId),
		"each line of the log names its trace",
	);
	const others = server.logged().filter(({ reqId }) => reqId === undefined);
	t.ok(others.length > 0 && others.every((line) => !("trace_id" in line)), "and no other line does");
});

t.test("a trace goes on where a trusted proxy says so, and only there", async (t) => {
	const given = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
	const parents = [
		`00-${given.traceId}-${given.spanId}-01`,
		`00-${given.traceId}-${given.spanId}-00`,
		`00-${given.traceId}-${given.spanId}`,
		`00-${"0".repeat(32)}-${given.spanId}-01`,
		`00-${given.traceId.toUpperCase()}-${given.spanId}-01`,
		"Wd7",
	];
	for (const [trust, expected] of [
		["127.0.0.1", [given.spanId, "not kept", undefined, undefined, undefined, undefined]],
		["192.0.2.1", parents.map(() => undefined)],
	] as const) {
		const stub = await collector(t);
		const server = await serve(t, { OTEL_EXPORTER_OTLP_ENDPOINT: stub.endpoint, TRUST_PROXY: trust });
		for (const [place, traceparent] of parents.entries()) {
			const headers = { traceparent, tracestate: "vendor=Wd7", baggage: "user=Wd7" };
			const answer = await fetch(`${server.url}/me`, { headers: { ...headers, "x-request-id": `${place}` } });
			t.equal(answer.status, 401);
		}
		await end(t, server);
		const spans = stub.spans();
		const kept = expected.filter((parent) => parent !== "not kept");
		t.same(
			spans.map(({ parentSpanId }) => parentSpanId || undefined),
			kept,
			`TRUST_PROXY=${trust}`,
		);
		const own = spans.filter(({ parentSpanId }) => !parentSpanId);
		t.ok(own.every(({ traceId }) => traceId !== given.traceId && /^(?!0+$)[0-9a-f]{32}$/.test(traceId)));
		t.notMatch(stub.raw(), /Wd7/);
		const traces = server.logged().flatMap(({ reqId, trace_id }) => (reqId === undefined ? [] : [trace_id]));
		t.equal(traces.length, parents.length, "also what is not kept has its trace in the log");
		t.equal(traces.filter((trace) => trace === given.traceId).length, trust === "127.0.0.1" ? 2 : 0);
	}
});

t.test("a share of requests is traced", async (t) => {
	const stub = await collector(t);
	const server = await serve(t, { OTEL_EXPORTER_OTLP_ENDPOINT: stub.endpoint, OTEL_TRACES_SAMPLER_ARG: "0" });
	await server.tokenFor("root");
	await end(t, server);
	t.same(stub.spans(), []);
	t.match(server.logged().find(({ event }) => event === "login")?.trace_id, /^[0-9a-f]{32}$/);
});

t.test(
	"a collector that is away, or that never answers, costs neither requests nor the end of the process",
	async (t) => {
		const silent = await collector(t, () => {});
		const away = `http://127.0.0.1:${await freePort()}`;
		for (const [what, endpoint] of [
			["away", away],
			["silent", silent.endpoint],
		] as const) {
			const server = await serve(t, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
			const token = await server.tokenFor("root");
			const slowest: number[] = [];
			// More spans than may wait.
			for (let batch = 0; batch < 100; batch++) {
				const start = performance.now();
				const answers = await Promise.all(Array.from({ length: 50 }, () => server.get("/protected", token)));
				slowest.push(performance.now() - start);
				if (!answers.every(({ status }) => status === 200)) t.fail("a request was refused");
			}
			t.ok(Math.max(...slowest) < 2_000, `${what}: ${Math.max(...slowest)} ms`);
			if (what === "away") {
				await server.until(/traces cannot be exported/);
				const said = server.logged().filter(({ msg }) => /traces cannot be exported/.test(String(msg)));
				t.match(said, [{ level: 40, reason: /ECONNREFUSED/ }], "said once, with the reason");
				t.notOk(said.some((line) => "trace_id" in line));
			}
			const took = await end(t, server);
			t.ok(took < 3_000, `${what}: it ends after ${Math.round(took)} ms`);
		}
		t.ok(silent.requests.length > 0, "it was asked");
	},
);

t.test("without the setting no module of OpenTelemetry is loaded; with it they are", async (t) => {
	const spy = `import { registerHooks } from "node:module";
		registerHooks({ load(url, context, next) { if (/opentelemetry|trac(ing|e-export)/.test(url)) console.log("loaded " + url); return next(url, context); } });`;
	const program = ["--import", `data:text/javascript,${encodeURIComponent(spy)}`, "src/main.ts"];
	for (const endpoint of [undefined, (await collector(t)).endpoint]) {
		const server = await serve(t, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: "x" }, program);
		await server.tokenFor("root");
		await end(t, server);
		const loaded = server.stdout().match(/^loaded .*$/gm) ?? [];
		if (endpoint === undefined) {
			t.same(loaded, []);
			t.notMatch(server.stdout(), /trace_id/);
		} else t.ok(loaded.length > 20, `${loaded.length} files`);
	}
});
