/**
 * Calls a service at fixed times, whatever becomes of the calls before (open loop): its own process, with raw sockets and
 * requests prepared as bytes, so that it takes as little of the cores it shares with the service as it can.
 */
import { connect, type Socket } from "node:net";

/** Prepared requests that are sent in turn, so many a second. */
export interface Stream {
	perSecond: number;
	requests: string[];
}

export interface Answer {
	stream: number;
	/** 0 where the caller gave up, -1 where the connection broke. */
	status: number;
	milliseconds: number;
	/** When the answer came, in milliseconds since the first call. */
	atMs: number;
}

export interface Calls {
	port: number;
	seconds: number;
	callersWaitMs: number;
	streams: Stream[];
}

export interface Report {
	answers: Answer[];
	/** What this process used of the cores. */
	cpuSeconds: number;
}

process.on("message", (calls: Calls) => {
	const before = process.cpuUsage();
	void callAll(calls).then((answers) => {
		const { user, system } = process.cpuUsage(before);
		process.send?.({ answers, cpuSeconds: (user + system) / 1e6 } satisfies Report);
	});
});
process.on("disconnect", () => process.exit(0));

async function callAll({ port, seconds, callersWaitMs, streams }: Calls): Promise<Answer[]> {
	const schedule = streams.flatMap(({ perSecond, requests }, stream) =>
		Array.from({ length: perSecond * seconds }, (_, index) => ({
			atMs: (index * 1000) / perSecond,
			stream,
			bytes: Buffer.from(requests[index % requests.length] as string),
		})),
	);
	schedule.sort((a, b) => a.atMs - b.atMs);
	const begin = performance.now();
	const answers: Promise<Answer>[] = [];
	for (const { atMs, stream, bytes } of schedule) {
		const waitMs = begin + atMs - performance.now();
		if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
		answers.push(call(port, bytes, callersWaitMs, stream, begin));
	}
	return Promise.all(answers);
}

/** Connections that wait for their next request. */
const idle: Socket[] = [];

/** One request over a connection of its own for that time, from the first byte sent to the last byte of the answer. */
function call(port: number, bytes: Buffer, waitMs: number, stream: number, begin: number): Promise<Answer> {
	const { promise, resolve } = Promise.withResolvers<Answer>();
	const socket = idle.pop() ?? connect({ port, host: "127.0.0.1", noDelay: true });
	const start = performance.now();
	let text = "";
	const settle = (status: number) => {
		clearTimeout(timer);
		socket.removeAllListeners();
		// Unheard, a reset of an idle connection would end this process.
		socket.on("error", () => socket.destroy());
		if (status > 0 && !/^connection: close/im.test(text)) {
			idle.push(socket);
			socket.once("close", () => {
				const place = idle.indexOf(socket);
				if (place >= 0) idle.splice(place, 1);
			});
		} else socket.destroy();
		const now = performance.now();
		resolve({ stream, status, milliseconds: now - start, atMs: now - begin });
	};
	const timer = setTimeout(settle, waitMs, 0);
	socket.on("data", (chunk) => {
		text += chunk.toString("latin1");
		const head = text.indexOf("\r\n\r\n");
		if (head < 0) return;
		const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1]);
		if (text.length >= head + 4 + length) settle(Number(text.slice(9, 12)));
	});
	socket.on("error", () => settle(-1));
	socket.on("close", () => settle(-1));
	socket.write(bytes);
	return promise;
}
