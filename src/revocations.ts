/**
 * Whose tokens are refused although they have not expired, in memory, so that no request costs a query: disabled and
 * deleted accounts, ended sessions, and single tokens. Each is kept for as long as a token it concerns can live.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Transaction } from "kysely";
import { clockMarginSeconds, longestTokenSeconds, type Principal, toleranceSeconds } from "./principal.ts";
import { deleteDue } from "./store/purge.ts";
import type { Schema } from "./store/schema.ts";
import type { Store } from "./store/store.ts";

/** Rows that one statement writes or deletes: few enough that nobody waits for it. */
const step = 500;
/** Rows that one statement reads, and entries of the map that are looked at in one go. */
const page = 10_000;

/** A `sid` or `jti`, and when the last access token with it expires. */
interface Revoked {
	id: string;
	accessUntil: number;
}

/** From then on no token with this id can live anywhere, whatever the clocks say. */
const endOf = (accessUntil: number) => accessUntil + toleranceSeconds + clockMarginSeconds;

export type Revocations = ReturnType<typeof createRevocations>;

/** Builds the list over the table `revocations` and the state of the accounts. Call both loads when their topics change. */
export function createRevocations({ store }: { store: Store }) {
	let accounts: ReadonlySet<string> = new Set();
	/** When each revoked `sid` or `jti` may be forgotten, in epoch seconds. */
	const ids = new Map<string, number>();
	/** Everything up to this version of the topic is in the map. */
	let seen = 0;
	/** How far the table was read: a load that fails half way goes on from there. */
	let read = { seq: 0, id: "" };
	/** Everything issued before is refused, in epoch seconds. */
	let issuedBefore = 0;

	/**
	 * Reads what was revoked since the last call. What this process has once known it keeps until its time.
	 *
	 * @param version of the topic `revocations`, asked before.
	 * @param anew whether to read all: what was read before may be from a store that went on otherwise.
	 */
	async function load(version: number, anew: boolean): Promise<void> {
		// A store that was restored from a backup counts on from an earlier version.
		if (anew || version < seen) read = { seq: 0, id: "" };
		for (let more = true; more; ) {
			const rows = await store.following
				.selectFrom("revocations")
				.select(["id", "ends_at", "seq"])
				.where(({ eb, refTuple, tuple }) => eb(refTuple("seq", "id"), ">", tuple(read.seq, read.id)))
				.orderBy("seq")
				.orderBy("id")
				.limit(page)
				.execute();
			for (const { id, ends_at } of rows) keep(id, ends_at);
			read = rows.at(-1) ?? read;
			more = rows.length === page;
		}
		const cutoff = await store.following
			.selectFrom("cutoffs")
			.select("at")
			.where("name", "=", "issued")
			.executeTakeFirst();
		issuedBefore = Math.max(issuedBefore, cutoff?.at ?? 0);
		seen = version;
		read = { seq: version, id: "" };
	}

	/**
	 * Writes ids inside the caller's transaction. After it `remember` has to follow, so that this process knows them too.
	 *
	 * @param seq what announcing the topic `revocations` in the same transaction answered.
	 */
	async function write(transaction: Transaction<Schema>, seq: number, revoked: readonly Revoked[]): Promise<void> {
		for (let start = 0; start < revoked.length; start += step) {
			const values = revoked.slice(start, start + step).map(({ id, accessUntil }) => ({
				id,
				ends_at: endOf(accessUntil),
				seq,
			}));
			await transaction
				.insertInto("revocations")
				.values(values)
				.onConflict((conflict) =>
					// An earlier end, of an older token of the same session, must not let go of it too soon.
					conflict.column("id").doUpdateSet((row) => ({
						ends_at: row
							.case()
							.when("excluded.ends_at", ">", row.ref("revocations.ends_at"))
							.then(row.ref("excluded.ends_at"))
							.else(row.ref("revocations.ends_at"))
							.end(),
						seq,
					})),
				)
				.execute();
		}
	}

	/** Refuses ids here, as soon as the transaction that wrote them is through: others hear of them from the store. */
	function remember(revoked: readonly Revoked[]): void {
		for (const { id, accessUntil } of revoked) keep(id, endOf(accessUntil));
	}

	/** Where an id comes twice, the later end counts. */
	const keep = (id: string, endsAt: number) => ids.set(id, Math.max(endsAt, ids.get(id) ?? 0));

	return {
		load,
		write,
		remember,

		/** Reads the disabled and deleted accounts. */
		async loadAccounts(): Promise<void> {
			const seconds = longestTokenSeconds + clockMarginSeconds;
			const rows = await store.following
				.selectFrom("users")
				.select("id")
				.where((row) => row("disabled_at", ">=", row(store.nowExpression(), "-", seconds)))
				// Not `union`: SQLite would go through all accounts in the order of their ids, to find what comes twice.
				.unionAll((row) =>
					row
						.selectFrom("deleted_users")
						.select("id")
						.where((row) => row("deleted_at", ">=", row(store.nowExpression(), "-", seconds))),
				)
				.execute();
			accounts = new Set(rows.map(({ id }) => id));
		},

		/** Whether this token is refused although it has not expired. */
		has: ({
			id,
			sessionId,
			tokenId,
			issuedAt,
			authenticatedAt,
		}: Pick<Principal, "id" | "sessionId" | "tokenId" | "issuedAt" | "authenticatedAt">): boolean =>
			// Whose password was given before belongs to a session that was begun before, however new the token is.
			Math.min(issuedAt, authenticatedAt) < issuedBefore || accounts.has(id) || ids.has(sessionId) || ids.has(tokenId),

		/** Everything issued before this time is refused, in epoch seconds of the store; 0 where nobody has said so. */
		issuedBefore: (): number => issuedBefore,

		/** Whether something of this time, in epoch seconds, was issued too early. */
		isTooOld: (issuedAt: number): boolean => issuedAt < issuedBefore,

		/**
		 * Refuses everything that was issued before a time, from now on, here at once and everywhere within a second. An
		 * earlier time than the one that is stored changes nothing.
		 *
		 * @param at epoch seconds, not in the future.
		 */
		async refuseIssuedBefore(at: number): Promise<void> {
			await store.transaction(async (transaction) => {
				await store.announce(transaction, "revocations");
				await transaction
					.insertInto("cutoffs")
					.values({ name: "issued", at })
					.onConflict((conflict) => conflict.column("name").doUpdateSet({ at }).where("cutoffs.at", "<", at))
					.execute();
			});
			issuedBefore = Math.max(issuedBefore, at);
		},

		/** Refuses one access token from now on, here at once and everywhere within a second. */
		async revokeToken({ tokenId, expiresAt }: Pick<Principal, "tokenId" | "expiresAt">): Promise<void> {
			const revoked = [{ id: tokenId, accessUntil: expiresAt }];
			await store.transaction(async (transaction) => {
				const seq = await store.announce(transaction, "revocations");
				await write(transaction, seq, revoked);
			});
			remember(revoked);
		},

		/** Deletes up to 500 rows whose tokens have all expired; answers how many. */
		purge(): Promise<number> {
			return deleteDue(store, { table: "revocations", key: "id", at: "ends_at" });
		},

		/** Forgets the ids whose tokens have all expired, in short turns. */
		async forget(): Promise<void> {
			const now = await store.now();
			let looked = 0;
			for (const [id, endsAt] of ids) {
				if (endsAt <= now) ids.delete(id);
				if (++looked % page === 0) await nextTurn();
			}
		},

		/** How many ids are in memory. */
		size: (): number => ids.size,
	};
}
