/** Connections that the service answers itself, whose clients neither read nor close: rows H03, H06 and Z04. */
import { once } from "node:events";
import t from "tap";
import { testApp } from "../support/app.ts";
import { type RunningServer, rootAccount, startServer } from "../support/process.ts";
import { abandon, host, listen, noConnection } from "../support/sockets.ts";
import { temporaryFolder } from "../support/stores.ts";

const connectRequest = `CONNECT a:1 HTTP/1.1\r\n${host}\r\n`;

const portOf = ({ url }: RunningServer): number => Number(new URL(url).port);

t.test("H06: 20 clients that send CONNECT and reset the connection do not end the process", async (t) => {
	const server = await startServer(t, { DATA_DIR: temporaryFolder(t), DRAIN_SECONDS: "0", ...rootAccount });
	for (let turn = 0; turn < 20; turn++) {
		const { socket } = await abandon(t, portOf(server), connectRequest);
		// Before the answer comes, and after it: the service may be writing, or waiting for the client to close.
		if (turn % 2 === 1) await once(socket, "data");
		socket.resetAndDestroy();
		t.equal((await server.get("/livez")).status, 200, `after ${turn + 1}`);
	}
	t.equal((await server.login("root")).status, 200);
	t.same(
		server.logged().filter(({ level }) => Number(level) >= 50),
		[],
		"no fault is logged",
	);
	server.signal("SIGTERM");
	t.match(await server.ended, { code: 0, signal: null, stderr: "" }, "the same process ends well");
});

t.test("H03: a connection that was refused goes, also when its client never closes", async (t) => {
	const house = await testApp(t);
	const port = await listen(house);
	const cases: Record<string, [statusCode: number, bytes: string]> = {
		CONNECT: [404, connectRequest],
		"what the parser refuses": [400, "nonsense\r\n\r\n"],
		"too large headers": [431, `GET / HTTP/1.1\r\n${host}X-A: ${"a".repeat(17 * 1024)}\r\n\r\n`],
		"a request that breaks behind a good one": [400, `GET /livez HTTP/1.1\r\n${host}\r\nnonsense\r\n\r\n`],
	};
	for (const [what, [statusCode, bytes]] of Object.entries(cases)) {
		const { socket, answer } = await abandon(t, port, bytes);
		t.match(await answer(), new RegExp(`HTTP/1\\.1 ${statusCode} `), `${what}: it has its answer`);
		t.equal(socket.writable, true, `${what}: the client keeps its side open`);
		const began = performance.now();
		await noConnection(house);
		t.ok(performance.now() - began < 3000, `${what}: the service does not`);
	}
});

t.test("Z04: clients that were refused and never close do not hold the end", async (t) => {
	const server = await startServer(t, { DATA_DIR: temporaryFolder(t), DRAIN_SECONDS: "0", ...rootAccount });
	const answers = await Promise.all(
		[connectRequest, connectRequest, "nonsense\r\n\r\n"].map(async (bytes) => {
			const { socket } = await abandon(t, portOf(server), bytes);
			return String((await once(socket, "data"))[0]).slice(0, 12);
		}),
	);
	t.same(answers, ["HTTP/1.1 404", "HTTP/1.1 404", "HTTP/1.1 400"]);
	const began = performance.now();
	server.signal("SIGTERM");
	t.match(await server.ended, { code: 0, signal: null, stderr: "" });
	const tookMs = performance.now() - began;
	t.ok(tookMs < 4000, `it ended after ${Math.round(tookMs)} ms`);
});
