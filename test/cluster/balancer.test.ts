/** What the published configuration of HAProxy does when replicas go and come, shown with programs that only answer. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { Owner } from "../support/process.ts";
import { startBalancer } from "./support/balancer.ts";
import { needs } from "./support/packages.ts";

/** A program that answers every path alike, and can be away from its port. */
async function startAnswerer(owner: Owner) {
	let status = 200;
	const server: Server = createServer(({ headers }, response) => {
		response.writeHead(status, { connection: "close" }).end(JSON.stringify(headers));
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as AddressInfo;
	owner.teardown(() => server.close());
	return {
		port,
		/** Refuses connections for so long; then, for so long, answers 503 as a replica does that is starting. */
		async leave(awayMs: number, startingMs = 0): Promise<void> {
			server.close();
			await sleep(awayMs);
			status = startingMs > 0 ? 503 : 200;
			server.listen(port, "127.0.0.1");
			await sleep(startingMs);
			status = 200;
		},
	};
}

async function startThree(owner: Owner) {
	const answerers = await Promise.all([startAnswerer(owner), startAnswerer(owner), startAnswerer(owner)]);
	const balancer = await startBalancer(
		owner,
		answerers.map(({ port }) => port),
	);
	/** Asks at a fixed pace; answers when those were sent that were not answered with 200. */
	const ask = async (everyMs: number, forMs: number): Promise<number[]> => {
		const failed: number[] = [];
		const sent: Promise<void>[] = [];
		const begin = performance.now();
		for (let atMs = 0; atMs < forMs; atMs = performance.now() - begin) {
			const sentMs = atMs;
			sent.push(fetch(balancer.url).then(({ status }) => void (status === 200 || failed.push(Math.round(sentMs)))));
			await sleep(everyMs);
		}
		await Promise.all(sent);
		return failed;
	};
	return { answerers, balancer, ask };
}

t.test("fault 1: a replica that dies and starts again gets nothing before it is ready", needs("haproxy"), async (t) => {
	const { answerers, ask } = await startThree(t);
	for (const answerer of answerers) {
		const away = answerer.leave(400, 1500);
		t.same(await ask(20, 3000), [], "every request was answered by another one");
		await away;
		await sleep(1000);
	}
});

t.test("when all are away for a moment, only what was sent in that moment fails", needs("haproxy"), async (t) => {
	const { answerers, ask } = await startThree(t);
	for (let blip = 0; blip < 3; blip++) {
		const [failed] = await Promise.all([ask(20, 2500), ...answerers.map(({ leave }) => leave(120))]);
		t.ok(failed.length > 0, "there was nobody to answer");
		t.ok(Math.max(...failed) < 300, `the last that failed was sent after ${failed.at(-1)} ms`);
	}
});

t.test(
	"H05: a body that comes one byte at a time is cut after 8 s, before a replica hears of it",
	needs("haproxy"),
	async (t) => {
		const { balancer } = await startThree(t);
		const begin = performance.now();
		const socket = connect(balancer.port, "127.0.0.1");
		socket.write("POST /login HTTP/1.1\r\nHost: login.example.com\r\nContent-Length: 1000\r\n\r\n");
		const drip = setInterval(() => socket.writable && socket.write("a"), 500);
		const [answer] = (await once(socket, "data")) as [Buffer];
		clearInterval(drip);
		socket.destroy();
		t.match(answer.toString(), /^HTTP\/1\.1 408 /);
		const tookMs = performance.now() - begin;
		t.ok(tookMs > 7500 && tookMs < 9500, `after ${tookMs.toFixed(0)} ms`);
	},
);

t.test("what only a trusted proxy may say does not pass when a client says it", needs("haproxy"), async (t) => {
	const { balancer } = await startThree(t);
	const said = {
		"x-forwarded-for": "192.0.2.1",
		"x-forwarded-host": "evil.example",
		"x-forwarded-proto": "gopher",
		"x-request-id": "said-by-the-client",
		traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		tracestate: "said=by-the-client",
	};
	const heard = (await (await fetch(balancer.url, { headers: said })).json()) as Record<string, string>;
	for (const [name, value] of Object.entries(said)) t.not(heard[name], value, name);
	t.match(heard, { "x-forwarded-for": "127.0.0.1", "x-request-id": /^[0-9a-f-]{36}$/ }, "but its own word does");
});
