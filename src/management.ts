/**
 * The management listener: metrics and probes for whoever runs the service, on a port of their own that clients do not
 * reach. Open from before the services until after their end, so that it can say what they are doing, and also where the
 * connections of the public port are exhausted. Plain HTTP of Node: it has four answers, takes no body and knows nobody.
 */
import { once } from "node:events";
import { createServer, type OutgoingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { browsable } from "./config/config.ts";
import { describe } from "./error-answers.ts";
import { errors } from "./errors.ts";
import { standardHeaders } from "./headers.ts";
import type { Log } from "./log.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { findProbe } from "./probes.ts";
import type { Services } from "./services.ts";

/** Those who ask are few and near, and send no body. Milliseconds and bytes. */
const limits = {
	headersTimeout: 5_000,
	requestTimeout: 5_000,
	connectionsCheckingInterval: 1_000,
	keepAliveTimeout: 72_000,
	maxHeaderSize: 16 * 1024,
	mostConnections: 100,
};

export type Management = Awaited<ReturnType<typeof openManagement>>;

/**
 * Listens.
 *
 * @param port 0 picks a free one; the log says which.
 * @throws where the port is taken or the address is not this machine's; the message names the setting.
 */
export async function openManagement({ host, port, log }: { host: string; port: number; log: Log }) {
	const metrics = createMetrics();
	let services: Services | undefined;

	const server = createServer(limits, (request, response) => {
		const [path = ""] = (request.url ?? "").split("?", 1);
		const probe = findProbe(path, services?.readiness);
		if (probe === undefined && path !== "/metrics") return refuse(response, new errors.NOT_FOUND());
		if (request.method !== "GET" && request.method !== "HEAD") {
			response.setHeader("allow", "GET, HEAD");
			return refuse(response, new errors.METHOD_NOT_ALLOWED());
		}
		if (probe) return sendJson(response, probe.status, probe.body, probe.headers);
		metrics.text().then(
			(text) => send(response, 200, { "content-type": metrics.contentType }, text),
			(error: unknown) => {
				log.error({ err: error }, "the metrics cannot be read");
				refuse(response, error);
			},
		);
	});
	server.maxConnections = limits.mostConnections;
	try {
		server.listen(port, host);
		await once(server, "listening");
	} catch (cause) {
		const { code } = cause as NodeJS.ErrnoException;
		const message = `The management listener cannot open ${host}:${port} (${code}). Give MANAGEMENT_HOST or MANAGEMENT_PORT another value.`;
		throw Object.assign(new Error(message, { cause }), { code });
	}
	const url = browsable(host, (server.address() as AddressInfo).port);
	log.info({ url }, "the management listener is open");

	return {
		url,

		/** The process has started: from now on the probes and the metrics tell of these services. */
		follow(opened: Services): void {
			services = opened;
			metrics.follow(opened);
		},

		/** The last to leave: whoever asked until now knows that the process is about to end. */
		async close(): Promise<void> {
			server.close();
			server.closeAllConnections();
			await once(server, "close");
		},
	};
}

function refuse(response: ServerResponse, error: unknown): void {
	const { body } = describe(error);
	sendJson(response, body.statusCode, body);
}

const sendJson = (response: ServerResponse, status: number, body: object, headers: OutgoingHttpHeaders = {}): void =>
	send(response, status, { ...headers, "content-type": "application/json; charset=utf-8" }, JSON.stringify(body));

function send(response: ServerResponse, status: number, headers: OutgoingHttpHeaders, body: string): void {
	response.writeHead(status, { ...standardHeaders, ...headers }).end(body);
}
