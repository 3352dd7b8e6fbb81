/**
 * What `/metrics` answers: the table of metrics read at that moment, and Node's own figures of the process, in
 * Prometheus' text format. Loaded only where there is a management listener.
 */
import { collectDefaultMetrics, type Gauge, Registry } from "@prometheus-io/client";
import type { Services } from "../services.ts";
import type { Distribution } from "./histogram.ts";
import { type Metric, type Reading, table } from "./table.ts";

/** Twice the default: measuring the event loop's delay wakes it up so often. Milliseconds. */
const eventLoopResolutionMs = 20;

/** One line of the text format, in the client's words. */
interface Sample {
	metricName?: string;
	labels: Record<string, string | number>;
	value: number;
}

/** Builds the answer. Before `follow` it knows the process and nothing else: the services are not open yet. */
export function createMetrics() {
	const registry = new Registry();
	collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: eventLoopResolutionMs });

	return {
		contentType: registry.contentType,

		/** From now on the metrics of these services are in the answer. */
		follow(services: Services): void {
			for (const metric of table) {
				const { name, help, type } = metric;
				const get = () => ({ name, help, type, values: samples(metric, metric.read(services)) });
				// All that the registry asks of a metric. The client's own classes keep their numbers themselves, and noting one
				// there takes longer than checking a token: ours stay with the services, and are only read here.
				registry.registerMetric({ name, get, reset() {} } as unknown as Gauge);
			}
		},

		text: (): Promise<string> => registry.metrics(),
	};
}

/** A reading as samples. A metric with a label has one for each value that it can take, also those that are still 0. */
function samples({ name, label }: Metric, reading: Reading): Sample[] {
	if (reading === undefined) return [];
	if (label === undefined) return samplesOf(name, {}, reading as number | Distribution);
	return Object.entries(reading as Record<string, number | Distribution>).flatMap(([word, value]) =>
		samplesOf(name, { [label]: word }, value),
	);
}

function samplesOf(name: string, labels: Sample["labels"], value: number | Distribution): Sample[] {
	if (typeof value === "number") return [{ labels, value }];
	const bucket = (le: number | string, count: number) => ({
		metricName: `${name}_bucket`,
		labels: { ...labels, le },
		value: count,
	});
	return [
		...value.buckets.map(([bound, below]) => bucket(bound, below)),
		bucket("+Inf", value.count),
		{ metricName: `${name}_sum`, labels, value: value.sum },
		{ metricName: `${name}_count`, labels, value: value.count },
	];
}
