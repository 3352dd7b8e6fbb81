/** Whether this process should get traffic. Answered from memory: probes never ask the store. */
import type { Changes } from "./changes.ts";
import type { Keys } from "./keys/keys.ts";

/** What a process that has started says of itself. `degraded` still serves: verification goes on with what is known. */
export const readinessStatuses = ["ok", "degraded", "draining", "stale", "no-signing-key"] as const;
export const storeStates = ["up", "down"] as const;

/** Whether traffic should come, and why not. */
export interface Readiness {
	ready: boolean;
	status: (typeof readinessStatuses)[number];
	store: (typeof storeStates)[number];
}

export type ReadinessService = ReturnType<typeof createReadiness>;

/** Builds the service over what is known of the store. */
export function createReadiness({ changes, keys }: { changes: Changes; keys: Pick<Keys, "canSign"> }) {
	let draining = false;
	return {
		/** From now on this process says that it wants no new traffic. */
		drain(): void {
			draining = true;
		},
		isDraining: (): boolean => draining,

		/** Whether to send traffic here, and why not. */
		check(): Readiness {
			const store = changes.reachable() ? "up" : "down";
			if (draining) return { ready: false, status: "draining", store };
			if (!changes.fresh()) return { ready: false, status: "stale", store };
			// It verifies on, but every login and every refresh here would be refused.
			if (!keys.canSign()) return { ready: false, status: "no-signing-key", store };
			return { ready: true, status: store === "up" ? "ok" : "degraded", store };
		},
	};
}
