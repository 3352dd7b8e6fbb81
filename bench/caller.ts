/**
 * Calls a service at fixed times, whatever becomes of the calls before (open loop): its own process, with bare sockets
 * and requests prepared as bytes, so that it takes as little of the cores it shares with the service as it can.
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

/** A call that has no answer yet. */
interface Call {
	stream: number;
	startMs: number;
	resolve(answer: Answer): void;
}

/** A connection, with the call that it carries. */
interface Line {
	socket: Socket;
	call: Call | undefined;
	received: string;
}

/** How often those are looked for that have waited too long: one timer for all, as one for each costs as much as the call. */
const lookMs = 50;

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
	const busy = new Set<Line>();
	const idle: Line[] = [];
	/** Ends the call of a line, and the line as well where it is of no more use. */
	const settle = (line: Line, status: number, reusable: boolean) => {
		const { call } = line;
		line.call = undefined;
		line.received = "";
		busy.delete(line);
		if (reusable) idle.push(line);
		else {
			const place = idle.indexOf(line);
			if (place >= 0) idle.splice(place, 1);
			line.socket.destroy();
		}
		const now = performance.now();
		if (call) call.resolve({ stream: call.stream, status, milliseconds: now - call.startMs, atMs: now - begin });
	};
	const look = setInterval(() => {
		const latest = performance.now() - callersWaitMs;
		for (const line of busy) if (line.call && line.call.startMs <= latest) settle(line, 0, false);
	}, lookMs);

	const answers: Promise<Answer>[] = [];
	for (const { atMs, stream, bytes } of schedule) {
		const waitMs = begin + atMs - performance.now();
		if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
		const line = idle.pop() ?? open(port, settle);
		busy.add(line);
		const { promise, resolve } = Promise.withResolvers<Answer>();
		line.call = { stream, startMs: performance.now(), resolve };
		line.socket.write(bytes);
		answers.push(promise);
	}
	const all = await Promise.all(answers);
	clearInterval(look);
	for (const { socket } of idle) socket.destroy();
	return all;
}

/** A new connection, whose answers are read without Node's streams. */
function open(port: number, settle: (line: Line, status: number, reusable: boolean) => void): Line {
	const onread = {
		buffer: Buffer.alloc(16_384),
		callback: (bytes: number, buffer: Uint8Array) => {
			line.received += (buffer as Buffer).toString("latin1", 0, bytes);
			const { received } = line;
			const head = received.indexOf("\r\n\r\n");
			if (head < 0) return true;
			const length = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1]);
			if (received.length >= head + 4 + length)
				settle(line, Number(received.slice(9, 12)), !/\r\nconnection: close/i.test(received));
			return true;
		},
	};
	const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread });
	const line: Line = { socket, call: undefined, received: "" };
	socket.on("error", () => settle(line, -1, false));
	socket.on("close", () => settle(line, -1, false));
	return line;
}
