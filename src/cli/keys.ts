/** The commands about signing keys. */
import type { KeyRow, Waiting } from "../keys/life.ts";
import type { Rotation } from "../keys/rotation.ts";
import type { SecurityEventRecorder } from "../security-events/recorder.ts";
import { type Answer, only, table, time } from "./words.ts";

/** Each command by its verb. */
export const keyCommands: Record<
	string,
	(rotation: Rotation, words: string[], securityEvents: SecurityEventRecorder) => Promise<Answer>
> = {
	async list(rotation) {
		const [keys, waiting] = [await rotation.list(), await rotation.findWaiting()];
		const waits = (kid: string) => (waiting?.kid === kid ? waiting : undefined);
		const rows = keys.map((key) => [
			key.kid,
			key.algorithm,
			key.state,
			time(key.created_at),
			time(key.signs_at),
			key.ends_at === null ? "" : time(key.ends_at),
			inWords(waits(key.kid)),
		]);
		return {
			text: table([["KID", "ALGORITHM", "STATE", "PUBLISHED", "SIGNS", "ENDS", "WAITS FOR"], ...rows]),
			json: keys.map((key) => {
				const { time, replicas, server } = waits(key.kid) ?? {};
				return { ...shown(key), waitsFor: replicas ? { time, replicas, server } : null };
			}),
		};
	},
	async rotate(rotation, _words, securityEvents) {
		const { key, made } = await rotation.rotate();
		const { kid, state, signs_at } = key;
		if (made) securityEvents.record({ event: `key_${state}`, kid });
		const what = made ? `made ${kid}` : `${kid} is published already`;
		return {
			text: state === "active" ? `${what}; it signs from now on` : `${what}; it signs from ${time(signs_at)} on`,
			json: { ...shown(key), made },
		};
	},
	async revoke(rotation, words, securityEvents) {
		const kid = only(words, "KID");
		const next = await rotation.revoke(kid);
		securityEvents.record({ event: "key_revoked", kid });
		if (next) securityEvents.record({ event: "key_active", kid: next.kid });
		return {
			text: next ? `revoked ${kid}; ${next.kid} signs from now on` : `revoked ${kid}`,
			json: { revoked: kid, signing: next?.kid ?? null },
		};
	},
};

/** What a published key waits for, in one cell. */
function inWords(waiting: Waiting | undefined): string {
	if (!waiting) return "";
	const words = [...waiting.replicas];
	if (waiting.server) words.unshift("a running server");
	if (waiting.time) words.unshift("its time");
	return words.join(", ");
}

/** A key as programs get it; times are epoch seconds. */
const shown = ({ kid, algorithm, state, created_at, signs_at, ends_at }: KeyRow) => ({
	kid,
	algorithm,
	state,
	createdAt: created_at,
	signsAt: signs_at,
	endsAt: ends_at,
});
