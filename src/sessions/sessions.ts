/** Sessions: one row a login, from which the store knows who is logged in, where, and until when. */
import { type Expression, type ExpressionBuilder, type Kysely, type SqlBool, sql, type Transaction } from "kysely";
import type { Config } from "../config/config.ts";
import { errors } from "../errors.ts";
import { randomId } from "../random.ts";
import type { Revocations } from "../revocations.ts";
import type { Schema } from "../store/schema.ts";
import type { Slot, Store } from "../store/store.ts";

const daySeconds = 86_400;
/** Rows that one statement of a purge deletes: few enough that nobody waits for it. */
const purgeStep = 500;
/** What `randomId` makes. */
const idShape = /^[\w-]{22}$/;
/** Letters of a User-Agent header that are kept. */
const longestUserAgent = 256;

/** Where a login comes from, as far as one can know. */
export interface Device {
	userAgent: string | undefined;
	address: string;
}

/** A session as its row has it. Times are epoch seconds. */
export interface Session {
	/** The `sid` of its tokens. */
	readonly id: string;
	readonly userId: string;
	/** How often it was refreshed. */
	readonly generation: number;
	readonly userAgent: string | null;
	readonly address: string;
	readonly createdAt: number;
	/** When the password was last given. */
	readonly authenticatedAt: number;
	readonly refreshedAt: number;
	/** The end by idleness. */
	readonly expiresAt: number;
	/** The end whatever happens. */
	readonly absoluteExpiresAt: number;
}

export type Sessions = ReturnType<typeof createSessions>;

/** Builds the service over the table `sessions`. */
export function createSessions({
	store,
	revocations,
	config,
}: {
	store: Store;
	revocations: Revocations;
	config: Pick<Config, "refreshIdleDays" | "refreshAbsoluteDays" | "refreshGraceSeconds" | "accessTokenSeconds">;
}) {
	const idleSeconds = config.refreshIdleDays * daySeconds;
	const absoluteSeconds = config.refreshAbsoluteDays * daySeconds;
	/** From the last write on: within the grace time another access token is given without one. */
	const accessSeconds = config.refreshGraceSeconds + config.accessTokenSeconds;

	/** Ends sessions and revokes their access tokens in one transaction; this process knows it before the caller goes on. */
	async function end(
		chosen: (row: ExpressionBuilder<Schema, "sessions">) => Expression<SqlBool>,
		alongWith: (transaction: Transaction<Schema>) => Promise<boolean> = async () => true,
	): Promise<number> {
		const ended = await store.db.transaction().execute(async (transaction) => {
			if (!(await alongWith(transaction))) return [];
			// First, so that those who end sessions take turns: two that lock the same rows in another order would wait for each other.
			const seq = await store.announce(transaction, "revocations");
			const rows = await transaction
				.deleteFrom("sessions")
				.where(chosen)
				.returning(["id", "access_until as accessUntil"])
				.execute();
			await revocations.write(transaction, seq, rows);
			return rows;
		});
		revocations.remember(ended);
		return ended.length;
	}

	/** The later end of all access tokens of a session, after one more was given. */
	const accessUntil = () => {
		const next = sql<number>`${store.nowExpression()} + ${accessSeconds}`;
		return sql<number>`case when access_until > ${next} then access_until else ${next} end`;
	};

	const findRow = store.prepare((slot: Slot<{ id: string }>) =>
		store.db
			.selectFrom("sessions")
			.select([...columns, store.nowExpression().as("now")])
			.where("id", "=", slot("id")),
	);

	const advanceRow = store.prepare((slot: Slot<Pick<Session, "id" | "generation">>) => {
		const now = store.nowExpression();
		return store.db
			.updateTable("sessions")
			.set((row) => ({
				generation: row("generation", "+", 1),
				refreshed_at: now,
				expires_at: row
					.case()
					.when(row("absolute_expires_at", "<", row(now, "+", idleSeconds)))
					.then(row.ref("absolute_expires_at"))
					.else(row(now, "+", idleSeconds))
					.end(),
				access_until: accessUntil(),
			}))
			.where((row) => row.and({ id: slot("id"), generation: slot("generation") }))
			.where("expires_at", ">", now)
			.returning(columns);
	});

	return {
		/**
		 * Begins a session for an account that has just given its password. Nothing of an earlier one is taken over.
		 *
		 * @param db the transaction in which the account was checked.
		 */
		async begin(userId: string, { userAgent, address }: Device, db: Kysely<Schema> = store.db): Promise<Session> {
			const { now } = await db.selectNoFrom(store.nowExpression().as("now")).executeTakeFirstOrThrow();
			const session: Session = {
				id: randomId(),
				userId,
				generation: 0,
				userAgent: userAgent === undefined ? null : cleaned(userAgent),
				address,
				createdAt: now,
				authenticatedAt: now,
				refreshedAt: now,
				expiresAt: now + Math.min(idleSeconds, absoluteSeconds),
				absoluteExpiresAt: now + absoluteSeconds,
			};
			await db
				.insertInto("sessions")
				.values({
					id: session.id,
					user_id: userId,
					generation: 0,
					user_agent: session.userAgent,
					address,
					created_at: now,
					authenticated_at: now,
					refreshed_at: now,
					expires_at: session.expiresAt,
					absolute_expires_at: session.absoluteExpiresAt,
					access_until: now + accessSeconds,
				})
				.execute();
			return session;
		},

		/** The session with this id and the store's time, while it lives. */
		async find(id: string): Promise<{ session: Session; now: number } | undefined> {
			const [row] = await findRow({ id });
			if (!row) return undefined;
			const { now, ...session } = row;
			return session.expiresAt > now ? { session, now } : undefined;
		},

		/**
		 * Moves a session from one generation to the next, once: of several callers with the same generation one succeeds.
		 *
		 * @returns the session as it is now, `undefined` where another caller was first or the session has ended.
		 */
		async advance({ id, generation }: Session): Promise<Session | undefined> {
			return (await advanceRow({ id, generation }))[0];
		},

		/** Notes that the password was given again, and that a token follows. `undefined` where the session has ended. */
		async reauthenticate(id: string): Promise<Session | undefined> {
			const now = store.nowExpression();
			return store.db
				.updateTable("sessions")
				.set({ authenticated_at: now, access_until: accessUntil() })
				.where("id", "=", id)
				.where("expires_at", ">", now)
				.returning(columns)
				.executeTakeFirst();
		},

		/** The live sessions of an account, the last used first. */
		async list(userId: string): Promise<Session[]> {
			return store.db
				.selectFrom("sessions")
				.select(columns)
				.where("user_id", "=", userId)
				.where("expires_at", ">", store.nowExpression())
				.orderBy("refreshed_at", "desc")
				.orderBy("id")
				.execute();
		},

		/** Ends one session: its tokens are refused here from now on, and everywhere within a second. */
		async end(id: string): Promise<void> {
			await end((row) => row("id", "=", id));
		},

		/**
		 * Ends one session of this account.
		 *
		 * @throws SESSION_NOT_FOUND also where the session is another account's.
		 */
		async endOwn(userId: string, id: string): Promise<void> {
			// What is no id is nobody's; PostgreSQL would fail on some texts, such as one with a NUL.
			const ended = idShape.test(id) ? await end((row) => row.and({ id, user_id: userId })) : 0;
			if (ended === 0) throw new errors.SESSION_NOT_FOUND();
		},

		/**
		 * Ends every session of an account.
		 *
		 * @param except a session that goes on.
		 * @param alongWith what happens in the same transaction, before; where it answers false, nothing is ended.
		 */
		async endAll(
			userId: string,
			{
				except,
				alongWith,
			}: { except?: string; alongWith?: (transaction: Transaction<Schema>) => Promise<boolean> } = {},
		): Promise<void> {
			await end((row) => {
				const own = row("user_id", "=", userId);
				return except === undefined ? own : own.and("id", "!=", except);
			}, alongWith);
		},

		/** Deletes up to 500 sessions that are over; answers how many. Their tokens ended before they did. */
		async purge(): Promise<number> {
			const over = store.db
				.selectFrom("sessions")
				.select("id")
				.where("expires_at", "<=", store.nowExpression())
				.limit(purgeStep)
				// Rows that somebody else is at: another replica's purge, or one who ends them. Nobody waits here.
				.$if(store.kind === "postgres", (query) => query.forUpdate().skipLocked());
			const { numDeletedRows } = await store.db.deleteFrom("sessions").where("id", "in", over).executeTakeFirst();
			return Number(numDeletedRows);
		},
	};
}

const columns = [
	"id",
	"user_id as userId",
	"generation",
	"user_agent as userAgent",
	"address",
	"created_at as createdAt",
	"authenticated_at as authenticatedAt",
	"refreshed_at as refreshedAt",
	"expires_at as expiresAt",
	"absolute_expires_at as absoluteExpiresAt",
] as const;

/** What may be shown and stored: no controls, no broken Unicode, not too long. */
const cleaned = (text: string): string =>
	text
		.toWellFormed()
		.replace(/[\p{Cc}\p{Bidi_Control}]/gu, "")
		.slice(0, longestUserAgent);
