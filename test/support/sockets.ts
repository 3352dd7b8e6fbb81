/** Bytes over real sockets: what a client library would never send, and how the service ends such a conversation. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import { goodPassword, type TestApp } from "./app.ts";
import { until } from "./until.ts";

export const host = "Host: localhost\r\n";

const formType = "Content-Type: application/x-www-form-urlencoded\r\n";
export const fields = `username=root&password=${goodPassword.replaceAll(" ", "+")}`;
export const post = `POST /login HTTP/1.1\r\n${host}${formType}`;

/** Lets an application listen on a free port of the loopback interface, and answers the port. */
export async function listen({ app }: Pick<TestApp, "app">): Promise<number> {
	await app.listen({ host: "127.0.0.1", port: 0 });
	return (app.server.address() as AddressInfo).port;
}

export interface Exchange {
	text: string;
	/** The server ended the connection, without being asked to. */
	closed: boolean;
	tookMs: number;
}

/** Sends bytes, and collects what comes back until the server closes or `patienceMs` have passed. */
export async function exchange(port: number, bytes: string, patienceMs = 3000): Promise<Exchange> {
	const began = performance.now();
	const socket = connect(port, "127.0.0.1");
	let text = "";
	socket.on("data", (data) => {
		text += data.toString("latin1");
	});
	socket.on("error", () => {});
	const closing = once(socket, "close").then(() => true);
	socket.write(bytes, "latin1");
	const patience = new AbortController();
	const closed = await Promise.race([closing, sleep(patienceMs, false, { signal: patience.signal })]);
	patience.abort();
	socket.destroy();
	return { text, closed, tookMs: performance.now() - began };
}

/** A client that sends bytes and never closes its side, whatever the server does. */
export async function abandon(t: Test, port: number, bytes: string) {
	const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {});
	t.teardown(() => socket.destroy());
	let text = "";
	socket.on("data", (data) => {
		text += data.toString("latin1");
	});
	const ended = once(socket, "end");
	await once(socket, "connect");
	socket.write(bytes, "latin1");
	return {
		socket,
		/** What the server sent, once it has closed its side. */
		async answer(): Promise<string> {
			await ended;
			return text;
		},
	};
}

/** Waits until no connection is open at an application. */
export async function noConnection({ app }: Pick<TestApp, "app">): Promise<void> {
	let open = -1;
	await until("no connection is open", () => {
		app.server.getConnections((_error, count) => {
			open = count;
		});
		return open === 0;
	});
}

/** One whole refusal in the house's shape, with the standard headers, and nothing after it. */
export function refusal(t: Test, { text, closed }: Exchange, statusCode: number, what: string): void {
	const [head = "", body = ""] = text.split("\r\n\r\n");
	t.match(head, new RegExp(`^HTTP/1\\.1 ${statusCode} `), what);
	t.equal(text.match(/HTTP\/1\.1 /g)?.length, 1, `${what}: one answer`);
	t.equal(closed, true, `${what}: the connection is closed`);
	t.match(JSON.parse(body || "null"), { statusCode, code: /^[A-Z_]+$/, error: String, message: String }, what);
	t.match(head, /\r\ncontent-type: application\/json; charset=utf-8/i, `H09: ${what}`);
	t.match(head, /\r\nx-request-id: [\w.-]+/i, `H07: ${what}`);
	for (const header of [
		/\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'/i,
		/\r\nx-content-type-options: nosniff/i,
		/\r\nreferrer-policy: no-referrer/i,
		/\r\nstrict-transport-security: max-age=/i,
		/\r\ncache-control: no-store/i,
	])
		t.match(head, header, `H08: ${what}`);
}
