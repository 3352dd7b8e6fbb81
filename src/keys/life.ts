/**
 * The life of a key: published, active, retiring, gone. When each state is over, and how the next one begins. All times
 * are the store's, because replicas compare them.
 */
import type { Selectable, Transaction } from "kysely";
import { clockMarginSeconds, toleranceSeconds } from "../principal.ts";
import type { Replicas } from "../replicas.ts";
import type { Schema, SigningKeysTable } from "../store/schema.ts";

/** For how long verifiers may keep the key set. */
export const keySetMaxAgeSeconds = 300;
/** By then every replica that reaches the store shows what one of them has written; those that report say so, too. */
const heardOfSeconds = 5;
/** How long a key is shown before it signs: whoever kept the key set without it has asked again by then. */
export const publishedSeconds = keySetMaxAgeSeconds + toleranceSeconds + heardOfSeconds;

/** A key as the store has it, without its private half. */
export type KeyRow = Omit<Selectable<SigningKeysTable>, "private_key_sealed">;

/** The keys that are not gone, and the store's time at which they were read. */
export interface Ring {
	now: number;
	active: KeyRow | undefined;
	published: KeyRow | undefined;
	retiring: KeyRow[];
	replicas: Replicas;
}

/** What a published key waits for before it signs; nothing where it may. */
export interface Waiting {
	/** Verifiers elsewhere may still have a key set without it. */
	time: boolean;
	/** Live replicas that have not reported that they loaded it: they would refuse its tokens. */
	replicas: string[];
	/** No server runs, and only a server lets a key sign. */
	server: boolean;
}

/** What the published key of a ring waits for. */
export const waitingFor = (published: KeyRow, { now, replicas: { live } }: Ring): Waiting => ({
	time: published.signs_at > now,
	replicas: live.filter(({ kids }) => !kids.includes(published.kid)).map(({ id }) => id),
	server: live.length === 0,
});

/** What has to be done to a ring by now, by a process that gives its tokens `tokenSeconds` to live. */
export function due(ring: Ring, { rotationSeconds, tokenSeconds }: { rotationSeconds: number; tokenSeconds: number }) {
	const { now, active, published, retiring, replicas } = ring;
	const waiting = published && waitingFor(published, ring);
	const maySign = waiting && !waiting.time && waiting.replicas.length === 0 && replicas.knowsOthers;
	return {
		/** They sign for this process, or will, and their rows do not know yet how long its tokens live. */
		short: [active, published]
			.filter((key) => key !== undefined)
			.filter(({ token_seconds }) => token_seconds < tokenSeconds),
		/** Their last token has ended. */
		ended: retiring.filter(({ ends_at }) => ends_at !== null && ends_at <= now),
		/** It may sign; where nothing else can, at once. */
		ready: !active || maySign ? published : undefined,
		/** Its time has come, and it is held up by these replicas. */
		heldUpBy: active && waiting && !waiting.time ? waiting.replicas : [],
		/** It has signed for long enough, and nothing is published that would take over. */
		old: active && !published && active.signs_at + rotationSeconds <= now ? active : undefined,
	};
}

/** How a key goes from state to state, inside a transaction that has announced the topic `keys`. */
export function transitions(transaction: Transaction<Schema>, now: number) {
	const set = (kid: string, values: Partial<SigningKeysTable>) =>
		transaction.updateTable("signing_keys").set(values).where("kid", "=", kid).execute();

	return {
		/** Adds a key that is shown, and signs once it may; or one that signs at once. */
		async add(
			key: Pick<SigningKeysTable, "kid" | "algorithm" | "private_key_sealed" | "token_seconds">,
			state: "published" | "active",
		): Promise<KeyRow> {
			const signs_at = state === "active" ? now : now + publishedSeconds;
			const row = { ...key, state, created_at: now, signs_at, ends_at: null };
			await transaction.insertInto("signing_keys").values(row).execute();
			const { private_key_sealed: _, ...shown } = row;
			return shown;
		},

		/** Lets a published key sign. The one before it verifies until the last token that it can have signed has ended. */
		async activate({ kid }: KeyRow, before: KeyRow | undefined): Promise<void> {
			if (before) {
				const ends_at = now + before.token_seconds + toleranceSeconds + clockMarginSeconds;
				await set(before.kid, { state: "retiring", ends_at });
			}
			await set(kid, { state: "active", signs_at: now });
		},

		/** Takes a key out of the ring for good. Its row stays, so that its id never comes back. */
		async end({ kid }: KeyRow): Promise<void> {
			await set(kid, { state: "gone", ends_at: now, private_key_sealed: "" });
		},

		/** Notes that tokens of this key may live longer than its row says. */
		async lengthen(key: KeyRow, token_seconds: number): Promise<void> {
			key.token_seconds = token_seconds;
			await set(key.kid, { token_seconds });
		},
	};
}
