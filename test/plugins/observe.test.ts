/** The span of a request and what is below it, on both stores: section 4 of the issue. A real process: test/cluster/traces.test.ts. */
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import t, { type Test } from "tap";
import { openTracing } from "../../src/tracing.ts";
import { goodPassword, testApp } from "../support/app.ts";
import { type CollectedSpan, collector } from "../support/collector.ts";
import { pairOf, post } from "../support/sessions.ts";
import { onEachStore } from "../support/stores.ts";

const open = async (t: Test) => {
	const stub = await collector(t);
	const nobody = () => {};
	const callbacks = { onFailure: nobody, onRecovery: nobody };
	const tracing = openTracing({ endpoint: stub.endpoint, serviceName: "gatehouse", ratio: 1, ...callbacks });
	return { tracing, ...stub };
};

/** How many hooks of each kind a request meets. */
const hooks = (app: object): Record<string, number> => {
	const [symbol] = Object.getOwnPropertySymbols(app).filter(({ description }) => description === "fastify.hooks");
	const found = (app as Record<symbol, Record<string, unknown>>)[symbol as symbol] ?? {};
	return Object.fromEntries(
		Object.entries(found).flatMap(([name, list]) => (Array.isArray(list) ? [[name, list.length]] : [])),
	);
};

t.test("without a tracer no request meets a hook for it, and no statement is watched", async (t) => {
	const off = await testApp(t);
	const { tracing } = await open(t);
	const on = await testApp(t, { tracing });
	t.equal(off.services.tracing, undefined);
	const { onRequest = 0, ...others } = hooks(off.app);
	t.ok(onRequest > 0, "hooks are found");
	t.same(hooks(on.app), { ...others, onRequest: onRequest + 1 }, "with one there is one more");
	await tracing.close();
});

onEachStore((kind) => {
	t.test(`${kind}: a login and a logout are a span each, and every statement and the hash one below it`, async (t) => {
		const { tracing, spans } = await open(t);
		const house = await testApp(t, { store: kind, tracing });
		await house.addUser("ada");
		const answer = await house.login("ada");
		t.equal(answer.statusCode, 200);
		t.equal((await post(house, "/logout", {}, pairOf(answer).access)).statusCode, 204);
		await tracing.close();
		const roots = spans().filter((span) => span.kind === 2);
		t.same(
			roots.map(({ name }) => name),
			["POST /login", "POST /logout"],
		);
		const [login, logout] = roots.map(({ spanId }) => spans().filter(({ parentSpanId }) => parentSpanId === spanId));
		t.same([...new Set(login?.map(({ name }) => name))].sort(), ["insert", "password verify", "select"]);
		const below = [...(login ?? []), ...(logout ?? [])];
		const system = kind === "sqlite" ? "sqlite" : "postgresql";
		for (const name of ["select", "insert", "begin", "update", "delete", "commit"])
			t.match(
				below.find((span) => span.name === name)?.attributes,
				{ "db.system.name": system, "db.operation.name": name },
				name,
			);
		t.equal(below.filter(({ name }) => name === "password verify").length, 1);
		t.equal(spans().length, below.length + 2, "what the service does by itself is in no trace");
		t.notMatch(
			spans().map(({ name }) => name),
			["other"],
		);
	});
});

t.test("a client that leaves before the answer ends its span, without a status", async (t) => {
	const { tracing, spans } = await open(t);
	const handled = Promise.withResolvers<void>();
	const { app } = await testApp(t, {
		tracing,
		extend: (app) =>
			void app.get("/slow", { config: { access: "public" } }, (request) => {
				request.raw.socket.once("close", () => handled.resolve());
				socket.destroy();
				return handled.promise.then(() => "late");
			}),
	});
	await app.listen({ host: "127.0.0.1", port: 0 });
	const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
	socket.write("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
	await once(socket, "close");
	await handled.promise;
	await tracing.close();
	const [span] = spans() as [CollectedSpan];
	t.same(span.attributes, { "http.request.method": "GET", "http.route": "/slow" });
});

t.test("a body that comes later than its head is still a part of its request", async (t) => {
	const { tracing, spans } = await open(t);
	const { app, addUser } = await testApp(t, { tracing });
	await addUser("ada");
	await app.listen({ host: "127.0.0.1", port: 0 });
	const { port } = app.server.address() as AddressInfo;
	const good = JSON.stringify({ username: "ada", password: goodPassword });
	for (const body of [good, `{${good.slice(1, -1)},`]) {
		const socket = connect(port, "127.0.0.1").setEncoding("utf8");
		const head = `POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
		const begun = once(app.server, "request");
		socket.write(`${head}\r\nConnection: close\r\n\r\n`);
		await begun;
		socket.write(body);
		await once(socket.resume(), "close");
	}
	await tracing.close();
	const [login, refused] = spans().filter(({ kind }) => kind === 2);
	t.ok(spans().some(({ name, parentSpanId }) => name === "password verify" && parentSpanId === login?.spanId));
	t.match(refused?.attributes, { "http.response.status_code": 400, "error.type": "MALFORMED_REQUEST" });
});
