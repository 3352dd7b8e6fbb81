/**
 * The HTTP server under the application: what a connection may cost, and what it answers while there is no application
 * yet. It listens from the first moment on, because a migration may take minutes: a probe then hears that the process is
 * starting, and does not have to guess why nobody answers.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { requestId, standardHeaders } from "./headers.ts";
import { containerBytes } from "./pressure.ts";
import { findProbe, notStarted } from "./probes.ts";

/** What a connection may cost before anybody looks at its requests. Milliseconds and bytes. */
const limits = {
	/** From the first byte to the last header. */
	headersTimeout: 10_000,
	/** From the first byte to the last byte of the body. */
	requestTimeout: 15_000,
	/** How often Node looks for connections over those times: without it they are cut up to 30 s late. */
	connectionsCheckingInterval: 1_000,
	/** Longer than the idle time of common load balancers (60 s), so that they and not we close a connection. */
	keepAliveTimeout: 72_000,
	maxHeaderSize: 16 * 1024,
};
const headerCount = 100;
/**
 * What a connection takes at its worst: its objects, a body that is being read, and what the kernel keeps of it. In a
 * container of 256 MB they are 2,684; more are closed unread. Whoever opens them all could end the process otherwise.
 */
const connectionBytes = 100_000;

/** Makes the server; the caller listens on it. The application takes its requests over when it is ready (src/app.ts). */
export function createHttpServer(): Server {
	// Node's own refusal of a missing Host would be bare: src/framing.ts refuses it in our shape.
	const server = createServer({ ...limits, requireHostHeader: false }, answerWhileStarting);
	server.maxHeadersCount = headerCount;
	if (Number.isFinite(containerBytes)) server.maxConnections = Math.floor(containerBytes / connectionBytes);
	return server;
}

/**
 * Watches the connections of a server from now on.
 *
 * @returns closes those that have no request under way. Node 24 leaves those open on which nothing has come yet, such as a
 * browser opens ahead of its need.
 */
export function watchConnections(server: Server): () => void {
	const open = new Set<Socket>();
	server.on("connection", (socket: Socket) => {
		open.add(socket);
		socket.once("close", () => open.delete(socket));
	});
	return () => {
		server.closeIdleConnections();
		for (const socket of open) if (socket.bytesRead === 0) socket.destroy();
	};
}

/** Alive, but neither started nor ready; whatever else is asked for has to wait. */
function answerWhileStarting(request: IncomingMessage, response: ServerResponse): void {
	const [path = ""] = (request.url ?? "").split("?", 1);
	const { status, headers, body } = findProbe(path, undefined) ?? notStarted();
	response
		.writeHead(status, {
			...standardHeaders,
			"content-type": "application/json; charset=utf-8",
			...headers,
			// A new one: whether a proxy sends it is not known yet.
			"x-request-id": requestId(undefined),
		})
		.end(JSON.stringify(body));
}
