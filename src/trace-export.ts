/**
 * Where finished spans go: a bounded queue, and from there to the collector (OTLP over HTTP, JSON). A collector that is
 * away or does not answer costs spans, and neither a request nor the end of the process waits for it.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
	BatchSpanProcessor,
	ParentBasedSampler,
	type SpanExporter,
	TraceIdRatioBasedSampler,
	TracerProvider,
} from "@opentelemetry/sdk-trace";

/** How long spans wait for others. */
const gatherMs = 5_000;
/** How long the collector has for a batch, with what is tried again. */
const exportMs = 5_000;
/** Spans that wait, about 3 MB: the rest is dropped. */
const mostWaiting = 4_096;
/** What is under way besides them: batches of 512 spans. */
const mostExports = 8;
/** How long the end of the process waits for the last spans. */
const lastSpansMs = 1_000;

export interface TraceExportOptions {
	/** The collector's base address: `/v1/traces` comes behind it. */
	endpoint: string;
	serviceName: string;
	/** The share of traces to keep where no caller has decided, 0 to 1. */
	ratio: number;
	/** Called when spans begin to be lost, with the reason, and when they arrive again. */
	onFailure(reason: string): void;
	onRecovery(): void;
}

/** Opens the queue and the exporter; its connection is made with the first span. */
export function openTraceExport({ endpoint, serviceName, ratio, onFailure, onRecovery }: TraceExportOptions) {
	const otlp = new OTLPTraceExporter({
		url: `${endpoint.replace(/\/$/, "")}/v1/traces`,
		timeoutMillis: exportMs,
		concurrencyLimit: mostExports,
	});
	let failing = false;
	const exporter: SpanExporter = {
		export(spans, done) {
			otlp.export(spans, (result) => {
				const failed = result.error !== undefined;
				if (failed && !failing) onFailure(reasonOf(result.error));
				if (!failed && failing) onRecovery();
				failing = failed;
				done(result);
			});
		},
		forceFlush: () => otlp.forceFlush(),
		shutdown: () => otlp.shutdown(),
	};
	const provider = new TracerProvider({
		// The instance: spans of several replicas can be told apart.
		resource: resourceFromAttributes({ "service.name": serviceName, "service.instance.id": randomUUID() }),
		sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
		spanProcessors: [
			new BatchSpanProcessor({
				exporter,
				scheduledDelayMillis: gatherMs,
				exportTimeoutMillis: 2 * exportMs,
				maxQueueSize: mostWaiting,
			}),
		],
	});
	return {
		getTracer: (name: string) => provider.getTracer(name),
		async close(): Promise<void> {
			// The last ones may be lost, and the exporter has said so.
			await Promise.race([provider.shutdown().catch(() => {}), sleep(lastSpansMs, undefined, { ref: false })]);
		},
	};
}

/** Never the collector's answer, which the error also carries. */
const reasonOf = (error: (Error & { code?: unknown }) | undefined): string =>
	`${error?.message ?? ""} ${error?.code === undefined ? "" : `(${String(error.code)})`}`.trim();
