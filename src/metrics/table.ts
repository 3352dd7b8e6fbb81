/**
 * Every metric in one table: its name, what it says, and where its number comes from. Services keep plain numbers and
 * know nothing of metrics; they are read here when somebody asks. Names follow Prometheus' rules: base units, `_total`
 * for what only grows. No label grows with users: its values are words of this program.
 *
 * `docs/operations.md`, the dashboard and the alert rules in `deploy/` are held together with this table by a test.
 */
import type { Services } from "../services.ts";
import { version } from "../version.ts";
import type { Distribution } from "./histogram.ts";

/** One number; one for each value of the label; or a distribution, for a histogram. */
export type Reading = number | Readonly<Record<string, number>> | Distribution;

export interface Metric {
	readonly name: `gatehouse_${string}`;
	readonly type: "counter" | "gauge" | "histogram";
	/** One sentence, also for docs/operations.md. */
	readonly help: string;
	readonly label?: string;
	readonly read: (services: Services) => Reading;
}

export const table: readonly Metric[] = [
	{
		name: "gatehouse_build_info",
		type: "gauge",
		help: "Always 1; the label is the version that runs",
		label: "version",
		read: () => ({ [version]: 1 }),
	},
	{
		name: "gatehouse_ready",
		type: "gauge",
		help: "1 for the status that /readyz answers now, 0 for every other",
		label: "status",
		read: ({ readiness }) => oneHot(readinessStatuses, readiness.check().status),
	},
	{
		name: "gatehouse_store_up",
		type: "gauge",
		help: "1 where the last question to the store was answered, else 0",
		read: ({ changes }) => Number(changes.reachable()),
	},
	{
		name: "gatehouse_hash_tasks",
		type: "gauge",
		help: "Password hashes that are computed now (running) and that wait for a thread (waiting)",
		label: "state",
		read: ({ passwords }) => pick(passwords.stats(), "running", "waiting"),
	},
	{
		name: "gatehouse_revocations",
		type: "gauge",
		help: "Ended sessions and revoked tokens held in memory until their last token has expired",
		read: ({ revocations }) => revocations.size(),
	},
];

const readinessStatuses = ["ok", "degraded", "starting", "draining", "stale", "no-signing-key"] as const;

const oneHot = (words: readonly string[], now: string) =>
	Object.fromEntries(words.map((word) => [word, Number(word === now)]));

const pick = <Name extends string>(stats: Record<Name, number>, ...names: Name[]) =>
	Object.fromEntries(names.map((name) => [name, stats[name]]));
