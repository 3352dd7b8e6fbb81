/** The commands about signing keys. */
import type { KeyRow, Waiting } from "../keys/life.ts";
import { openRing } from "../services.ts";
import { type Accounts, type Answer, type Call, type Command, type Context, table, time } from "./words.ts";

/** Each command by its name. */
export const keyCommands: Record<string, Command> = {
	"key list": { run: list },
	"key rotate": { run: rotate },
	"key revoke": { words: ["KID"], run: revoke },
};

async function list({ store }: Accounts, _call: Call, { config }: Context): Promise<Answer> {
	const { rotation } = openRing(config, store);
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
			const waiting = waits(key.kid);
			return {
				...shown(key),
				waits_for: waiting ? { time: waiting.time, replicas: waiting.replicas, server: waiting.server } : null,
			};
		}),
	};
}

async function rotate({ store, securityEvents }: Accounts, _call: Call, { config }: Context): Promise<Answer> {
	const { key, made } = await openRing(config, store).rotation.rotate();
	const { kid, state, signs_at } = key;
	if (made) securityEvents.record({ event: `key_${state}`, kid });
	const what = made ? `made ${kid}` : `${kid} is published already`;
	return {
		text: state === "active" ? `${what}; it signs from now on` : `${what}; it signs from ${time(signs_at)} on`,
		json: { ...shown(key), made },
	};
}

async function revoke({ store, securityEvents }: Accounts, call: Call, { config }: Context): Promise<Answer> {
	const [kid = ""] = call.words;
	const next = await openRing(config, store).rotation.revoke(kid);
	securityEvents.record({ event: "key_revoked", kid });
	if (next) securityEvents.record({ event: "key_active", kid: next.kid });
	return {
		text: next ? `revoked ${kid}; ${next.kid} signs from now on` : `revoked ${kid}`,
		json: { revoked: kid, signing: next?.kid ?? null },
	};
}

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
	created_at,
	signs_at,
	ends_at,
});
