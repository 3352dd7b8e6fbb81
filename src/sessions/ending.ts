/** What ends sessions: their owner, an administrator, too many of them, and time. Whatever ends one revokes its tokens. */
import { type Expression, type ExpressionBuilder, type SqlBool, sql, type Transaction } from "kysely";
import { LRUCache } from "lru-cache";
import { errors } from "../errors.ts";
import { type Principal, toleranceSeconds } from "../principal.ts";
import { isId } from "../random.ts";
import type { Revocations } from "../revocations.ts";
import { purgeStep, selectDue } from "../store/purge.ts";
import type { Schema } from "../store/schema.ts";
import type { Slot, Store } from "../store/store.ts";

/**
 * Live sessions that one account may have. Without an end to them a script that logs in and never out would make
 * everything slow that goes through all of them: the list, the page, and the end of them all.
 */
export const mostSessions = 1000;
/** Access tokens of one session that may be revoked one by one. */
const mostRevokedTokens = 100;
/** A session that goes on is looked at again within a week: a shorter REFRESH_IDLE_DAYS can move its end to an earlier time. */
export const unseenSeconds = 7 * 86_400;

type Chosen = (row: ExpressionBuilder<Schema, "sessions">) => Expression<SqlBool>;

/** The token that a caller has shown. */
type Shown = Pick<Principal, "kind" | "sessionId" | "expiresAt">;

/** Builds this half of the sessions, over the table `sessions`. */
export function createEnding({ store, revocations }: { store: Store; revocations: Revocations }) {
	/**
	 * How many access tokens of a session were revoked one by one in this process, and when the first of them expires: what
	 * is issued from then on is counted anew, as nobody has to remember that one any more.
	 */
	const revokedOneByOne = new LRUCache<string, { count: number; until: number }>({ max: 10_000 });

	/** What is too many; in steps, as everywhere. */
	const findSurplus = store.prepare((slot: Slot<{ userId: string; begun: string }>) =>
		store.db
			.selectFrom("sessions")
			.select("id")
			.where("user_id", "=", slot("userId"))
			.where("id", "!=", slot("begun"))
			.where("expires_at", ">", store.nowExpression())
			.orderBy("refreshed_at", "desc")
			.orderBy("id")
			.limit(purgeStep)
			.offset(mostSessions - 1),
	);

	/** Ends sessions and revokes their access tokens. After the commit `revocations.remember` has to follow. */
	async function endIn(transaction: Transaction<Schema>, chosen: Chosen, shown?: Shown) {
		// First, so that those who end sessions take turns: two that lock the same rows in another order would wait for each other.
		const seq = await store.announce(transaction, "revocations");
		const rows = await transaction
			.deleteFrom("sessions")
			.where(chosen)
			.returning(["id", "access_until as accessUntil"])
			.execute();
		// The row can be gone already, purged just now or missing from a restored backup, and its access token still good.
		if (shown?.kind === "access" && !rows.some(({ id }) => id === shown.sessionId))
			rows.push({ id: shown.sessionId, accessUntil: shown.expiresAt });
		await revocations.write(transaction, seq, rows);
		return rows;
	}

	/** The same in one transaction; this process knows it before the caller goes on. */
	async function end(
		chosen: Chosen,
		{
			alongWith = async () => true,
			shown,
		}: {
			alongWith?: ((transaction: Transaction<Schema>) => Promise<boolean>) | undefined;
			shown?: Shown | undefined;
		} = {},
	): Promise<number> {
		const ended = await store.transaction(async (transaction) =>
			(await alongWith(transaction)) ? endIn(transaction, chosen, shown) : [],
		);
		revocations.remember(ended);
		return ended.length;
	}

	return {
		/**
		 * Refuses one access token. Where it is the hundredth of its session within the life of one, the session ends (RFC 7009
		 * section 2.1): that is one id to remember for every replica, in place of as many as somebody likes.
		 */
		async revokeToken(principal: Principal): Promise<void> {
			const { sessionId, issuedAt, expiresAt } = principal;
			const before = revokedOneByOne.get(sessionId);
			const goesOn = before !== undefined && issuedAt < before.until;
			const count = goesOn ? before.count + 1 : 1;
			revokedOneByOne.set(sessionId, { count, until: goesOn ? before.until : expiresAt });
			if (count < mostRevokedTokens) await revocations.revokeToken(principal);
			else await end((row) => row("id", "=", sessionId), { shown: principal });
		},

		/**
		 * Ends one session: its tokens are refused here from now on, and everywhere within a second.
		 *
		 * @param shown a token of it, which is refused from now on whether or not the session was still there.
		 */
		async end(id: string, shown?: Shown): Promise<void> {
			await end((row) => row("id", "=", id), { shown });
		},

		/**
		 * Ends one session of this account.
		 *
		 * @throws SESSION_NOT_FOUND also where the session is another account's.
		 */
		async endOwn(userId: string, id: string): Promise<void> {
			// Looked for before: an end takes the lock that all ends share, and every replica hears of it.
			const isOwn =
				// What is no id is nobody's; PostgreSQL would fail on some texts, such as one with a NUL.
				isId(id) &&
				(await store.db
					.selectFrom("sessions")
					.select("id")
					.where("id", "=", id)
					.where("user_id", "=", userId)
					.executeTakeFirst());
			if (!isOwn || (await end((row) => row("id", "=", id))) === 0) throw new errors.SESSION_NOT_FOUND();
		},

		/**
		 * Ends every session of an account.
		 *
		 * @param except a session that goes on.
		 * @param shown a token of one of them, which is refused from now on whether or not its session was still there.
		 * @param alongWith what happens in the same transaction, before; where it answers false, nothing is ended.
		 */
		async endAll(
			userId: string,
			{
				except,
				shown,
				alongWith,
			}: { except?: string; shown?: Shown; alongWith?: (transaction: Transaction<Schema>) => Promise<boolean> } = {},
		): Promise<void> {
			const chosen: Chosen = (row) => {
				const own = row("user_id", "=", userId);
				return except === undefined ? own : own.and("id", "!=", except);
			};
			await end(chosen, { alongWith, shown });
		},

		/**
		 * Ends the least recently used sessions of an account that has more than `mostSessions`.
		 *
		 * @param begun the newest one, which stays.
		 */
		async endSurplus(userId: string, begun: string): Promise<void> {
			const surplus = await findSurplus({ userId, begun });
			// As a rule there is none, and then the login takes no lock that others wait for.
			if (surplus.length === 0) return;
			const ids = surplus.map(({ id }) => id);
			await end((row) => row("id", "in", ids));
		},

		/**
		 * Ends the sessions that were begun before a time, in steps of 500, after `revocations.refuseIssuedBefore`; answers how
		 * many there were.
		 *
		 * @param at epoch seconds.
		 */
		async endBegunBefore(at: number): Promise<number> {
			let count = 0;
			// From id to id: looking from the beginning each time would pass all the rows that were deleted before.
			for (let after = ""; ; ) {
				const old = await store.db
					.selectFrom("sessions")
					.select("id")
					.where("created_at", "<", at)
					.where("id", ">", after)
					.orderBy("id")
					.limit(purgeStep)
					.execute();
				const ids = old.map(({ id }) => id);
				const last = ids.at(-1);
				if (last === undefined) return count;
				const late = await store.transaction(async (transaction) => {
					const seq = await store.announce(transaction, "revocations");
					const rows = await transaction
						.deleteFrom("sessions")
						.where("id", "in", ids)
						.returning(["id", "access_until as accessUntil", "refreshed_at", "authenticated_at"])
						.execute();
					// Their tokens are refused by the time at which they were issued, but for those that were given since then: by a
					// replica that had not heard of it, or whose clock is ahead.
					const late = rows.filter((row) => Math.max(row.refreshed_at, row.authenticated_at) >= at - toleranceSeconds);
					await revocations.write(transaction, seq, late);
					return late;
				});
				revocations.remember(late);
				count += ids.length;
				after = last;
			}
		},

		/**
		 * Looks at up to 500 sessions whose time for it has come: puts those off that go on, and deletes those that are over; their
		 * tokens ended before they did. Answers how many that were.
		 */
		async purge(): Promise<number> {
			const due = { table: "sessions", key: "id", at: "purge_at" } as const;
			const now = store.nowExpression();
			// Not all of those that were looked at together come back together.
			const next = sql<number>`${now} + ${sql.lit(unseenSeconds)} - created_at % ${sql.lit(unseenSeconds / 2)}`;
			const { numUpdatedRows } = await store.db
				.updateTable("sessions")
				.set((row) => ({
					purge_at: row.case().when("expires_at", "<", next).then(row.ref("expires_at")).else(next).end(),
				}))
				.where("id", "in", selectDue(store, due))
				.where("expires_at", ">", now)
				.executeTakeFirst();
			const putOff = Number(numUpdatedRows);
			if (putOff >= purgeStep) return putOff;
			const { numDeletedRows } = await store.db
				.deleteFrom("sessions")
				.where("id", "in", selectDue(store, due, purgeStep - putOff))
				.where("expires_at", "<=", now)
				.executeTakeFirst();
			return putOff + Number(numDeletedRows);
		},
	};
}
