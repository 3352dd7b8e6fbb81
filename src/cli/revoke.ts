/**
 * `revoke --issued-before TIME`: after a backup was restored, which has forgotten what was revoked since it was made, or
 * when nobody knows any more which tokens are in the wrong hands.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Accounts, type Answer, readTime, time, UsageError } from "./words.ts";

/** Every replica that reaches the store has heard by then. */
const heardSeconds = 1;

/**
 * Refuses every access and device token issued before a time, or before `now`, and ends every session begun before it.
 *
 * @throws UsageError where it is no time, or lies in the future.
 */
export async function revokeIssuedBefore(
	{ store, revocations, securityEvents, sessions }: Accounts,
	text: string | undefined,
): Promise<Answer> {
	if (text === undefined) throw new UsageError("revoke needs --issued-before TIME");
	const now = await store.now();
	// What this very second brings forth is older than the command, too.
	const at = text === "now" ? now + 1 : timeOf(text);
	if (at > now + 1) throw new UsageError("--issued-before takes no time that is still to come");
	await revocations.refuseIssuedBefore(at);
	// Until then replicas refresh old sessions, and what a login of before has begun may not be in the store yet.
	await sleep((Math.max(at - now, 0) + heardSeconds) * 1000);
	const ended = await sessions.endBegunBefore(at);
	securityEvents.record({ event: "everything_revoked", before: at, sessions: ended });
	return {
		text: `tokens issued before ${time(at)} are refused; ${ended} sessions were ended`,
		json: { issued_before: at, sessions: ended },
	};
}

function timeOf(text: string): number {
	const seconds = readTime(text);
	if (seconds === undefined)
		throw new UsageError("--issued-before takes now, epoch seconds, or a time such as 2026-11-23T18:30:00Z");
	return Math.ceil(seconds);
}
