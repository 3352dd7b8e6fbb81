/** Many connections that never come to a request, and a process that may open few. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { full, progress } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { createClient } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { type Single, startUnder } from "./support/single.ts";

/** Opens so many connections, each of which sends these bytes and no more. */
function openMany(t: Test, { url }: Single, count: number, bytes: (index: number) => string) {
	const { hostname, port } = new URL(url);
	const began = performance.now();
	let open = count;
	let lastEndMs = 0;
	const sockets = Array.from({ length: count }, (_, index): Socket => {
		const socket = connect(Number(port), hostname);
		socket.on("connect", () => socket.write(bytes(index))).on("error", () => {});
		socket.on("data", () => {}).on("end", () => socket.destroy());
		socket.on("close", () => {
			open--;
			lastEndMs = performance.now() - began;
		});
		return socket;
	});
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
	});
	return {
		open: () => open,
		lastEndMs: () => lastEndMs,
		close() {
			for (const socket of sockets) socket.destroy();
		},
	};
}

t.test(
	"H05, fault 20: 2,000 half-open sockets are cut within their time, and nobody else waits for them",
	async (t) => {
		const server = await startUnder(t, ["prlimit", "--nofile=8192"]);
		const token = await server.tokenFor("root");
		const client = createClient();
		t.teardown(client.close);
		const head = "POST /login HTTP/1.1\r\nHost: localhost\r\n";
		// A part of a head, a part of a body, and next to nothing: a body may take 15 s, a head 10.
		const kinds = [`${head}X-A: `, `${head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`, "P"];
		const half = openMany(t, server, 2000, (index) => kinds[index % kinds.length] ?? "");
		const tookMs: number[] = [];
		const cut = until("all of them are cut", () => half.open() === 0, { seconds: 20, everyMs: 50 });
		while (half.open() > 0 && tookMs.length < 2000) {
			for (const path of ["/readyz", "/protected"]) {
				const began = performance.now();
				t.equal((await client.send(`${server.url}${path}`, { token })).status, 200);
				tookMs.push(performance.now() - began);
			}
			await sleep(20);
		}
		await cut;
		tookMs.sort((a, b) => a - b);
		const p99 = tookMs[Math.floor(tookMs.length * 0.99)] ?? Number.NaN;
		progress(
			`${tookMs.length} requests meanwhile, p99 ${p99.toFixed(0)} ms; the last socket went after ${half.lastEndMs().toFixed(0)} ms`,
		);
		t.ok(p99 < 500, "p99 of /readyz and /protected under 500 ms");
		t.ok(half.lastEndMs() < 18_000, "the sockets are gone after 15 s and a little");
		t.equal((await server.login("root")).status, 200);
	},
);

t.test(
	"Z20, fault 21: with 128 files and 500 sockets it does not end, and serves again when they are gone",
	needs("prlimit"),
	async (t) => {
		const server = await startUnder(t, ["prlimit", "--nofile=128:128"]);
		const token = await server.tokenFor("root");
		for (let round = 1; round <= (full ? 10 : 2); round++) {
			const crowd = openMany(t, server, 500, () => "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
			await sleep(3000);
			t.equal(server.child.exitCode, null, "it runs");
			crowd.close();
			await until(
				"LIVE answers",
				() =>
					server.get("/livez").then(
						({ status }) => status === 200,
						() => false,
					),
				{ seconds: 5, everyMs: 50 },
			);
			t.equal((await server.get("/readyz")).status, 200);
			t.equal((await server.get("/protected", token)).status, 200);
			t.equal((await server.login("root")).status, 200, "the store can be written");
		}
		t.notMatch(server.stdout(), /"level":60/, "nothing that nobody handled");
		server.signal("SIGTERM");
		t.equal((await server.ended).code, 0);
	},
);
