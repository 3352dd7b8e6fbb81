/**
 * Everything that changes the key ring: the start, the clock, and the commands. Any number of replicas may do it at the
 * same time: a change announces the topic `keys` first, whose row lock makes the others wait, and then looks whether
 * there is still anything to do.
 */
import type { Kysely } from "kysely";
import { daySeconds } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { errors } from "../errors.ts";
import type { ReplicaReports } from "../replicas.ts";
import type { Schema } from "../store/schema.ts";
import type { Store } from "../store/store.ts";
import { generateKey, type SealingKeys } from "./key-pair.ts";
import { due, type KeyRow, type Ring, transitions, type Waiting, waitingFor } from "./life.ts";
import { createSealedKeys } from "./sealed-keys.ts";
import type { SigningAlgorithm } from "./strength.ts";

const columns = ["kid", "algorithm", "state", "created_at", "signs_at", "ends_at", "token_seconds"] as const;

/** A key that has just come to this state. */
export type KeyChange = Pick<KeyRow, "kid" | "state">;

export type Rotation = ReturnType<typeof createRotation>;

/**
 * Builds what changes the table `signing_keys`. A replica that has it in memory hears of a change by its topic.
 *
 * @param makeSecret makes the secret where nobody has set one; called only while the store has no key.
 * @param getSealingKeys asked for at the first use: a look at the ring needs no secret.
 */
export function createRotation({
	store,
	replicaReports,
	makeSecret,
	getSealingKeys,
	config,
	nowMs = () => performance.now(),
}: {
	store: Store;
	replicaReports: ReplicaReports;
	makeSecret: () => void;
	getSealingKeys: () => SealingKeys;
	config: Pick<Config, "signingAlgorithm" | "keyRotationDays" | "accessTokenSeconds">;
	/** A monotonic clock in milliseconds. */
	nowMs?: () => number;
}) {
	const sealedKeys = createSealedKeys({ store, makeSecret, getSealingKeys });
	const rotationSeconds = config.keyRotationDays * daySeconds;
	const { accessTokenSeconds: tokenSeconds } = config;

	async function read(db: Kysely<Schema>): Promise<Ring> {
		const rows = await db
			.selectFrom("signing_keys")
			.select(columns)
			.where("state", "!=", "gone")
			.orderBy("created_at")
			.execute();
		const { now } = await db.selectNoFrom(store.nowExpression().as("now")).executeTakeFirstOrThrow();
		const find = (state: KeyRow["state"]) => rows.find((row) => row.state === state);
		return {
			now,
			active: find("active"),
			published: find("published"),
			retiring: rows.filter(({ state }) => state === "retiring"),
			replicas: await replicaReports.read(db, now),
		};
	}

	/** One change after another, however many processes make one. */
	const change = <T>(work: (ring: Ring, to: ReturnType<typeof transitions>) => Promise<T>): Promise<T> =>
		store.transaction(async (transaction) => {
			await store.announce(transaction, "keys");
			const ring = await read(transaction);
			return work(ring, transitions(transaction, ring.now));
		});

	/**
	 * A key that may be added, made before the change because that takes time. Where the ring has an active key it keeps
	 * that one's algorithm: only a start changes it, or replicas with different settings would rotate back and forth.
	 *
	 * @throws ConfigError where SECRET opens none of the keys in the store: nobody else could open one sealed under it.
	 */
	async function make(algorithm?: SigningAlgorithm) {
		const sealed = await sealedKeys.read();
		const active = sealed.find(({ state }) => state === "active")?.algorithm as SigningAlgorithm | undefined;
		const chosen = algorithm ?? active ?? config.signingAlgorithm;
		const { kid, privatePem } = await generateKey(chosen);
		return {
			kid,
			algorithm: chosen,
			private_key_sealed: sealedKeys.seal(kid, privatePem),
			token_seconds: tokenSeconds,
		};
	}

	/** What the last look at the ring showed, before anything was changed; the active key's age begins by this process's clock. */
	let seen = { activeSinceMs: undefined as number | undefined, waiting: undefined as Waiting | undefined };

	/**
	 * Does what is due, and answers for the log: which keys have changed their state, and which replicas hold up one whose
	 * time has come.
	 */
	async function advance(): Promise<{ changed: KeyChange[]; heldUpBy: string[] }> {
		const look = (ring: Ring) => due(ring, { rotationSeconds, tokenSeconds });
		const ring = await read(store.db);
		seen = {
			activeSinceMs: ring.active && nowMs() - (ring.now - ring.active.signs_at) * 1000,
			waiting: ring.published && waitingFor(ring.published, ring),
		};
		const now = look(ring);
		const { heldUpBy } = now;
		if (!now.ready && !now.old && now.ended.length + now.short.length === 0) return { changed: [], heldUpBy };
		const spare = now.old && (await make());
		const changed = await change(async (ring, to) => {
			const { ended, ready, old, short } = look(ring);
			const changed: KeyChange[] = [];
			for (const key of short) await to.lengthen(key, tokenSeconds);
			for (const key of ended) {
				await to.end(key);
				changed.push({ kid: key.kid, state: "gone" });
			}
			if (ready) {
				await to.activate(ready, ring.active);
				if (ring.active) changed.push({ kid: ring.active.kid, state: "retiring" });
				changed.push({ kid: ready.kid, state: "active" });
			}
			if (old && spare) changed.push(await to.add(spare, "published"));
			return changed;
		});
		return { changed, heldUpBy };
	}

	/**
	 * Takes a key out of the ring at once: its tokens are refused. Where it was the active one the published key signs
	 * from now on, or a new one.
	 *
	 * @returns the key that signs, where that is another one than before.
	 * @throws KEY_NOT_FOUND; ConfigError where a new key is needed and SECRET opens none of the others.
	 */
	async function revoke(kid: string): Promise<{ kid: string } | undefined> {
		const before = await read(store.db);
		// Only where nothing else would sign: an emergency must not fail for want of SECRET where none is needed.
		const spare = before.active?.kid === kid && !before.published ? await make() : undefined;
		const outcome = await change(async ({ active, published, retiring }, to) => {
			const key = [active, published, ...retiring].find((one) => one?.kid === kid);
			if (!key) throw new errors.KEY_NOT_FOUND();
			// It began to sign between the two looks.
			if (key === active && !published && !spare) return "once more";
			await to.end(key);
			if (key !== active) return undefined;
			if (published) await to.activate(published, undefined);
			else if (spare) await to.add(spare, "active");
			return published ?? spare;
		});
		return outcome === "once more" ? revoke(kid) : outcome;
	}

	return {
		advance,
		revoke,

		/**
		 * How long the active key has signed, after how long another one should, and what a published one waits for. The keys
		 * are those that `advance` last saw, but the age is that of now: a ring that cannot be read must not look young.
		 */
		stats: () => ({
			activeSeconds: seen.activeSinceMs === undefined ? 0 : (nowMs() - seen.activeSinceMs) / 1000,
			rotationSeconds,
			waiting: seen.waiting,
		}),

		/**
		 * What a server does before it serves: makes the first key of an empty store, which signs at once, and publishes one
		 * where SIGNING_ALGORITHM is another than the newest key's. Of several starts with different settings the last wins.
		 * Answers which keys have changed their state.
		 *
		 * @throws ConfigError where SECRET does not open the keys in the store.
		 */
		async start(): Promise<KeyChange[]> {
			await sealedKeys.sealAgain();
			const { changed } = await advance();
			const wanted = config.signingAlgorithm;
			const before = await read(store.db);
			if ((before.published ?? before.active)?.algorithm === wanted) return changed;
			const spare = await make(wanted);
			await change(async ({ active, published }, to) => {
				if (!active) return void changed.push(await to.add(spare, "active"));
				if (published?.algorithm === wanted) return;
				// It has signed nothing yet.
				if (published) {
					await to.end(published);
					changed.push({ kid: published.kid, state: "gone" });
				}
				if (active.algorithm !== wanted) changed.push(await to.add(spare, "published"));
			});
			return changed;
		},

		/** Publishes a key that will take over; where one is published already, that one will do. */
		async rotate(): Promise<{ key: KeyRow; made: boolean }> {
			const spare = await make();
			return change(async ({ active, published }, to) => {
				if (published) return { key: published, made: false };
				return { key: await to.add(spare, active ? "published" : "active"), made: true };
			});
		},

		/**
		 * Makes sure that SECRET is the one this store is used with, for who needs what else is made under it.
		 *
		 * @throws ConfigError where it opens none of the keys in the store.
		 */
		async assertSecret(): Promise<void> {
			await sealedKeys.read();
		},

		/** The published key and what it waits for. */
		async findWaiting(): Promise<({ kid: string } & Waiting) | undefined> {
			const ring = await read(store.db);
			return ring.published && { kid: ring.published.kid, ...waitingFor(ring.published, ring) };
		},

		/** Every key there ever was, the newest first. */
		list: (): Promise<KeyRow[]> =>
			store.db
				.selectFrom("signing_keys")
				.select(columns)
				.orderBy("created_at", "desc")
				.orderBy("signs_at", "desc")
				.execute(),
	};
}
