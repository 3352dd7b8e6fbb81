/** What a server does in the background: which chores there are, how often, and which of them once for all replicas. */
import type { Changes } from "./changes.ts";
import type { Config } from "./config/config.ts";
import { type Chore, inSteps } from "./housekeeping.ts";
import type { KeyChange, Rotation } from "./keys/rotation.ts";
import type { Log } from "./log.ts";
import { beatSeconds, type ReplicaReports } from "./replicas.ts";
import type { Services } from "./services.ts";

/** How often what is over is deleted. */
const purgeSeconds = 60;
/** How often somebody looks whether a key has to change its state. */
const keysSeconds = 5;

/** The chores of a server over its services. */
export function choresOf({
	sessions,
	revocations,
	limits,
	storedEvents,
	securityEvents,
	replicaReports,
	changes,
	rotation,
	beat,
	recordKey,
	config,
	log,
}: Pick<Services, "sessions" | "revocations" | "limits" | "storedEvents" | "securityEvents"> & {
	replicaReports: ReplicaReports;
	changes: Changes;
	rotation: Rotation;
	/** Reports that this process lives and which keys it has loaded. */
	beat: () => Promise<void>;
	/** Tells of a key that has changed its state. */
	recordKey: (change: KeyChange) => void;
	config: Pick<Config, "securityEventDays">;
	log: Log;
}): Chore[] {
	/** While the store is away nothing can be done, and the follower of changes has said so. */
	const whileReachable = (run: () => Promise<void>) => async () => {
		if (changes.reachable()) await run();
	};
	const purge = (name: string, run: Chore["run"]): Chore => ({ name, of: "store", everySeconds: purgeSeconds, run });
	const own = (name: string, everySeconds: number, run: Chore["run"]): Chore => ({
		name,
		of: "process",
		everySeconds,
		run,
	});

	let heldUp: string[] = [];
	async function advanceKeys(): Promise<void> {
		const { changed, heldUpBy } = await rotation.advance();
		for (const key of changed) recordKey(key);
		if (heldUpBy.length > 0 && heldUpBy.join() !== heldUp.join())
			log.warn({ replicas: heldUpBy }, "a new signing key waits for replicas that have not loaded it");
		heldUp = heldUpBy;
	}

	return [
		purge("sessions", inSteps(sessions.purge)),
		purge("revocations", inSteps(revocations.purge)),
		purge("login tries", inSteps(limits.purge)),
		purge(
			"security events",
			inSteps(() => storedEvents.purge(config.securityEventDays)),
		),
		purge("replicas", replicaReports.purge),
		own("refusals of the last minute", purgeSeconds, async () => securityEvents.settle()),
		own("revocations in memory", purgeSeconds, revocations.forget),
		// Each process notes how long its own tokens live; what changes the ring is done once, under a lock.
		own("signing keys", keysSeconds, whileReachable(advanceKeys)),
		own("heartbeat", beatSeconds, whileReachable(beat)),
	];
}
