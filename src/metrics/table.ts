/**
 * Every metric in one table: its name, what it says, and where its number comes from. Services keep plain numbers and
 * know nothing of metrics; they are read here when somebody asks. Names follow Prometheus' rules: base units, `_total`
 * for what only grows. No label grows with users: its values are words of this program.
 *
 * `docs/operations.md`, the dashboard and the alert rules in `deploy/` are held together with this table by a test.
 */
import { droppedLines } from "../log-output.ts";
import { readinessStatuses } from "../readiness.ts";
import type { Services } from "../services.ts";
import { version } from "../version.ts";
import type { Distribution } from "./histogram.ts";

/** A number, or a distribution for a histogram; one for each value of the label; nothing where there is no such thing. */
export type Reading = Value | Readonly<Record<string, Value>> | undefined;
type Value = number | Distribution;

export interface Metric {
	readonly name: `gatehouse_${string}`;
	readonly type: "counter" | "gauge" | "histogram";
	/** One sentence, also for docs/operations.md. */
	readonly help: string;
	readonly label?: string;
	readonly read: (services: Services) => Reading;
}

const counter = (name: Metric["name"], help: string, ...rest: Rest): Metric => metric("counter", name, help, rest);
const gauge = (name: Metric["name"], help: string, ...rest: Rest): Metric => metric("gauge", name, help, rest);
const histogram = (name: Metric["name"], help: string, ...rest: Rest): Metric => metric("histogram", name, help, rest);

/** The label, where there is one, and what reads the number. */
type Rest = [label: string, read: Metric["read"]] | [read: Metric["read"]];

function metric(type: Metric["type"], name: Metric["name"], help: string, rest: Rest): Metric {
	return rest.length === 1 ? { name, type, help, read: rest[0] } : { name, type, help, label: rest[0], read: rest[1] };
}

export const table: readonly Metric[] = [
	gauge("gatehouse_build_info", "Always 1, for the version that runs", "version", () => ({ [version]: 1 })),
	gauge("gatehouse_ready", "1 for what /readyz says now, 0 for all else", "status", ({ readiness }) => {
		const { status: now } = readiness.check();
		return Object.fromEntries(readinessStatuses.map((status) => [status, Number(status === now)]));
	}),

	counter(
		"gatehouse_logins_total",
		"Logins, by how they ended: right, wrong, over a limit, hash queue full, store away",
		"outcome",
		({ securityEvents, credentials }) => {
			const { login, login_refused } = securityEvents.stats().recorded;
			return { success: login, refused: login_refused, ...credentials.stats().logins };
		},
	),
	counter(
		"gatehouse_login_limits_total",
		"Passwords that were not looked at because a limit was used up, by whose",
		"kind",
		({ limits }) => limits.stats(),
	),
	counter(
		"gatehouse_refreshes_total",
		"Refreshes, by the token: the newest one, the one before within its grace time, used before, not accepted",
		"outcome",
		({ refresh, securityEvents }) => {
			const { refresh_token_reuse: reuse, refresh_token_refused: refused } = securityEvents.stats().recorded;
			return { ...refresh.stats(), reuse, refused };
		},
	),
	counter(
		"gatehouse_token_verifications_total",
		"Access tokens presented: good and remembered (cache hit), good and checked in full, refused",
		"outcome",
		({ tokens }) => tokens.verifications,
	),

	histogram("gatehouse_hash_seconds", "How long a thread took for a password", ({ passwords }) => {
		return passwords.stats().hashSeconds;
	}),
	gauge("gatehouse_hash_tasks", "Passwords in the threads and in the queue before them", "state", ({ passwords }) => {
		const { running, waiting } = passwords.stats();
		return { running, waiting };
	}),
	gauge("gatehouse_hash_threads", "Threads for passwords", ({ passwords }) => passwords.stats().threads),
	counter(
		"gatehouse_shed_total",
		"What was refused to stay able to answer: by OVERLOADED (level 1, level 2), connections, by BUSY",
		"reason",
		({ pressure, passwords }) => {
			const { first, rest, connections } = pressure.stats().shed;
			return { first, rest, connections, hash_queue: passwords.stats().refused };
		},
	),
	gauge("gatehouse_pressure_level", "The level of overload: 0, 1 or 2", ({ pressure }) => pressure.stats().level),
	gauge("gatehouse_memory_used_ratio", "The part of the memory that is used, as overload sees it", ({ pressure }) => {
		return pressure.stats().memory;
	}),

	gauge("gatehouse_store_up", "1 while the store answers, else 0", ({ changes }) => Number(changes.reachable())),
	gauge("gatehouse_knowledge_age_seconds", "Age of what is known of revocations, accounts and keys", ({ changes }) => {
		return changes.stats().ageMs / 1000;
	}),
	histogram(
		"gatehouse_change_lag_seconds",
		"How late a change of another process was applied here: an upper bound",
		"topic",
		({ changes }) => changes.stats().lags,
	),
	gauge(
		"gatehouse_listener_up",
		"1 while notifications of PostgreSQL can arrive, 0 while polling does it alone; missing where there are none",
		({ listener }) => {
			const listening = listener.listening();
			return listening === undefined ? undefined : Number(listening);
		},
	),
	gauge(
		"gatehouse_revocations",
		"Ended sessions and revoked tokens in memory, until their last token has expired",
		({ revocations }) => revocations.size(),
	),
	histogram(
		"gatehouse_store_statement_seconds",
		"How long a statement took, without the wait for a connection",
		(s) => {
			return s.store.stats().statements;
		},
	),
	gauge(
		"gatehouse_store_connections",
		"Connections to the store that work or are idle, and callers that wait for one",
		"state",
		({ store }) => {
			const { inUse: in_use, idle, waiting } = store.stats().connections;
			return { in_use, idle, waiting };
		},
	),
	gauge(
		"gatehouse_store_log_bytes",
		"Size of SQLite's log of writes, which grows for as long as a reader stays; missing with PostgreSQL",
		({ store }) => store.logBytes(),
	),

	gauge("gatehouse_keys", "Signing keys that this process has loaded, by state", "state", ({ keys }) => keys.stats()),
	gauge("gatehouse_signing_key_age_seconds", "How long the active key has signed", ({ rotation }) => {
		return rotation.stats().activeSeconds;
	}),
	gauge(
		"gatehouse_key_rotation_seconds",
		"How long a key signs before the next one is published: KEY_ROTATION_DAYS",
		({ rotation }) => rotation.stats().rotationSeconds,
	),
	gauge(
		"gatehouse_published_key_waits",
		"What a published key waits for: 1 while its time has not come, and the number of replicas without it",
		"reason",
		({ rotation }) => {
			const { time = false, replicas = [] } = rotation.stats().waiting ?? {};
			return { time: Number(time), replicas: replicas.length };
		},
	),

	counter("gatehouse_security_events_total", "Security events", "event", ({ securityEvents }) => {
		return securityEvents.stats().recorded;
	}),
	gauge("gatehouse_security_events_waiting", "Security events that are not in the store yet", ({ securityEvents }) => {
		return securityEvents.stats().waiting;
	}),
	counter("gatehouse_security_events_dropped_total", "Security events that never got into the store", (services) => {
		return services.securityEvents.stats().dropped;
	}),
	counter("gatehouse_log_lines_dropped_total", "Lines of the log that nobody took", droppedLines),
];
