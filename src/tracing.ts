/**
 * Traces with OpenTelemetry: a span for each request, and under it one for each statement and each password check.
 * Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set. Every span is made here and says what stands here: no address,
 * no name, no token and no path ever becomes part of one, as somebody else keeps the traces.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import type { Passwords } from "./passwords/passwords.ts";
import type { Statement } from "./store/store.ts";
import { openTraceExport, type TraceExportOptions } from "./trace-export.ts";

/** A request that is traced. `startMs`: by `performance.now()`, and `startedAtMs`: the same moment since the epoch. */
interface TracedRequest {
	span: Span;
	startMs: number;
	startedAtMs: number;
	ended: boolean;
}

export type Tracing = ReturnType<typeof openTracing>;

/** Opens the exporter. What cannot be exported is dropped, and the caller is told when that begins and ends. */
export function openTracing(options: TraceExportOptions) {
	const provider = openTraceExport(options);
	const tracer: Tracer = provider.getTracer("gatehouse");
	const requests = new AsyncLocalStorage<TracedRequest>();

	/** What a request has begun may go on after it, on timers that others use as well: that belongs to no trace. */
	const current = (): TracedRequest | undefined => {
		const request = requests.getStore();
		return request?.ended === false ? request : undefined;
	};
	const startChild = ({ span }: TracedRequest, name: string, options: Parameters<Tracer["startSpan"]>[1]) =>
		tracer.startSpan(name, options, trace.setSpan(ROOT_CONTEXT, span));

	return {
		/**
		 * Begins the span of a request.
		 *
		 * @param route the route's own pattern; undefined where there is no such route.
		 * @param traceparent the caller's span (W3C Trace Context), where the caller is to be believed.
		 */
		startRequest(method: string, route: string | undefined, traceparent: string | undefined) {
			const span = tracer.startSpan(
				route === undefined ? method : `${method} ${route}`,
				{
					kind: SpanKind.SERVER,
					attributes: { "http.request.method": method, ...(route === undefined ? {} : { "http.route": route }) },
				},
				parentOf(traceparent),
			);
			const request = { span, startMs: performance.now(), startedAtMs: Date.now(), ended: false };
			return {
				/** Does this, and all that follows from it, as a part of the request. Fastify takes it along over the reading of a body. */
				run: (work: () => void): void => requests.run(request, work),
				/** Ends the span; `statusCode` is undefined where the client did not wait for the answer. */
				end(statusCode: number | undefined): void {
					if (statusCode !== undefined) span.setAttribute("http.response.status_code", statusCode);
					if (statusCode !== undefined && statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
					request.ended = true;
					span.end();
				},
			};
		},

		/** Notes the catalogue's code on the request that was refused. */
		refused(code: string): void {
			current()?.span.setAttribute("error.type", code);
		},

		/** A statement of the store that has just ended. */
		statement({ database, kind, durationMs, failed }: Statement): void {
			const request = current();
			if (request === undefined) return;
			const endMs = request.startedAtMs + performance.now() - request.startMs;
			const span = startChild(request, kind, {
				kind: SpanKind.CLIENT,
				startTime: endMs - durationMs,
				attributes: { "db.system.name": database, "db.operation.name": kind },
			});
			if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
			span.end(endMs);
		},

		/** The same passwords, with a span for each hash: from the moment it is asked for, so with the wait in the queue. */
		around(passwords: Passwords): Passwords {
			const timed =
				<Values extends unknown[], Result>(name: string, work: (...values: Values) => Promise<Result>) =>
				async (...values: Values): Promise<Result> => {
					const request = current();
					if (request === undefined) return work(...values);
					const span = startChild(request, name, {});
					try {
						return await work(...values);
					} catch (error) {
						span.setStatus({ code: SpanStatusCode.ERROR });
						throw error;
					} finally {
						span.end();
					}
				};
			return {
				...passwords,
				verify: timed("password verify", passwords.verify),
				hash: timed("password hash", passwords.hash),
				checkPolicy: timed("password policy", passwords.checkPolicy),
			};
		},

		/** What every line of the log gets while a request is served. */
		logFields(): { trace_id?: string } {
			const request = current();
			return request === undefined ? {} : { trace_id: request.span.spanContext().traceId };
		},

		/** Exports what waits, for a second at most. */
		close: provider.close,
	};
}

/** A context with the caller's span; without one that can be read, a new trace begins. Of its `tracestate` nothing is kept. */
function parentOf(traceparent: string | undefined) {
	const found = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(traceparent ?? "");
	if (!found) return ROOT_CONTEXT;
	const [, traceId = "", spanId = "", flags = ""] = found;
	const spanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
	return trace.setSpanContext(ROOT_CONTEXT, spanContext);
}
