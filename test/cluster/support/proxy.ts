/** A TCP proxy of the test's own, between the service and PostgreSQL: it delays, swallows, resets, and changes its target. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Owner } from "../../support/process.ts";

/** What happens on the way. */
export interface Line {
	/** Where new connections lead; those that are open stay where they are. */
	target: number;
	/** Every packet takes this much longer, each way. */
	delayMs: number;
	/** This share of the packets, 0 to 1, resets its connection instead of arriving. */
	resetShare: number;
	/** Nothing arrives any more, and nobody is told. */
	swallows: boolean;
	/** New connections are reset at once. */
	refuses: boolean;
}

export type Proxy = Awaited<ReturnType<typeof openProxy>>;

/** Listens on a free port and forwards to `target`, a port of the loopback interface. It ends with its owner. */
export async function openProxy(owner: Owner, target: number) {
	const line: Line = { target, delayMs: 0, resetShare: 0, swallows: false, refuses: false };
	const pairs = new Set<[Socket, Socket]>();
	let forwarded = 0;
	let resets = 0;

	const server = createServer({ noDelay: true }, (client) => {
		if (line.refuses) return void client.resetAndDestroy();
		const upstream = connect({ port: line.target, host: "127.0.0.1", noDelay: true });
		const pair: [Socket, Socket] = [client, upstream];
		pairs.add(pair);
		const end = () => {
			pairs.delete(pair);
			client.destroy();
			upstream.destroy();
		};
		for (const socket of pair) socket.on("error", end).on("close", end);
		forward(client, upstream, pair);
		forward(upstream, client, pair);
	});

	/** Timers of one length fire in order, so bytes stay in order while the delay does not change. */
	function forward(from: Socket, to: Socket, pair: [Socket, Socket]): void {
		from.on("data", (bytes: Buffer) => {
			forwarded++;
			// A black hole has no end that anybody hears of: what it swallowed does not come later.
			if (line.swallows) return;
			if (Math.random() < line.resetShare) {
				resets++;
				return cut(pair);
			}
			if (line.delayMs === 0) to.write(bytes);
			else setTimeout(() => to.writable && to.write(bytes), line.delayMs);
		});
	}

	function cut(pair: [Socket, Socket]): void {
		pairs.delete(pair);
		for (const socket of pair) socket.resetAndDestroy();
	}

	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	owner.teardown(() => {
		server.close();
		for (const pair of pairs) cut(pair);
	});
	return {
		port: (server.address() as AddressInfo).port,
		/** What happens on the way, from now on. */
		line,
		/** Resets every connection that is open. */
		cutAll: () => pairs.forEach(cut),
		/** How many connections are open, packets were forwarded, and connections reset. */
		stats: () => ({ open: pairs.size, forwarded, resets }),
	};
}
