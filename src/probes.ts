/**
 * What the probes answer, each with one meaning. Live: the process runs. Started: it has migrated its store and loaded its
 * keys. Ready: traffic should come here. None asks the store. On the public port routes/health.ts says the same once the
 * application is there.
 */
import { describe } from "./error-answers.ts";
import { errors } from "./errors.ts";
import { type ReadinessService, readinessStatuses, type storeStates } from "./readiness.ts";

/** What /readyz may say: before there is a readiness to ask, that it starts. */
export const readyStatuses = ["starting", ...readinessStatuses] as const;

/** The answer of /readyz, whatever its status. */
export interface ReadyBody {
	status: (typeof readyStatuses)[number];
	store: (typeof storeStates)[number];
}

/** An answer with a JSON body. */
export interface ProbeAnswer {
	readonly status: number;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: object;
}

/** The answer to a path, or `undefined` where it is no probe's. `readiness` is there as soon as the process has started. */
export function findProbe(
	path: string,
	readiness: Pick<ReadinessService, "check"> | undefined,
): ProbeAnswer | undefined {
	if (path === "/livez") return yes;
	if (path === "/startupz") return readiness ? yes : notStarted();
	if (path !== "/readyz") return undefined;
	if (readiness === undefined) {
		const body: ReadyBody = { status: "starting", store: "down" };
		return { ...notStarted(), body };
	}
	const { ready, ...body } = readiness.check();
	return { status: ready ? 200 : 503, headers: {}, body };
}

const yes: ProbeAnswer = { status: 200, headers: {}, body: { status: "ok" } };

/** The refusal of everything that a process cannot do while it starts. */
export function notStarted(): ProbeAnswer {
	const { body, headers } = describe(new errors.STARTING());
	return { status: body.statusCode, headers, body };
}
