/** A collector of traces, for tests: it receives OTLP over HTTP on the loopback interface. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Test } from "tap";

/** A span as OTLP has it, with its attributes as a plain object. */
export interface CollectedSpan {
	traceId: string;
	spanId: string;
	parentSpanId?: string;
	name: string;
	kind: number;
	startTimeUnixNano: string;
	endTimeUnixNano: string;
	attributes: Record<string, unknown>;
	status: { code?: number };
}

interface Exported {
	resourceSpans: {
		resource: { attributes: KeyValue[] };
		scopeSpans: { spans: (Omit<CollectedSpan, "attributes"> & { attributes: KeyValue[] })[] }[];
	}[];
}
interface KeyValue {
	key: string;
	value: Record<string, unknown>;
}

const plain = (attributes: KeyValue[]): Record<string, unknown> =>
	Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

/** A collector: keeps every byte that it gets, and answers as told. */
export async function collector(t: Test, answer = (response: ServerResponse): void => void response.end("{}")) {
	const bodies: string[] = [];
	const requests: string[] = [];
	const server = createServer((request: IncomingMessage, response) => {
		let body = "";
		requests.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
		request.setEncoding("utf8").on("data", (text: string) => {
			body += text;
		});
		request.on("end", () => {
			bodies.push(body);
			server.emit("export");
			answer(response);
		});
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	t.teardown(() => {
		server.closeAllConnections();
		server.close();
	});
	const exported = () => bodies.flatMap((body) => (JSON.parse(body) as Exported).resourceSpans);
	return {
		server,
		requests,
		endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		raw: () => [...requests, ...bodies].join("\n"),
		resources: () => exported().map(({ resource }) => plain(resource.attributes)),
		spans: (): CollectedSpan[] =>
			exported()
				.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
				.map((span) => ({ ...span, attributes: plain(span.attributes) })),
	};
}
