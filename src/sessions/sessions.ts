/** Sessions: one row a login, from which the store knows who is logged in, where, and until when. */
import { sql } from "kysely";
import { daySeconds } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { randomId } from "../random.ts";
import type { Revocations } from "../revocations.ts";
import { quietly, type Slot, type Store } from "../store/store.ts";
import { createAdvance } from "./advance.ts";
import { createEnding, unseenSeconds } from "./ending.ts";
import { freePlace, placeOf } from "./place.ts";
import { type Session, sessionColumns, sessionOf } from "./session.ts";

/** Letters that are kept of what a client or a proxy says. */
const longestText = 256;

/** Where a login comes from, as far as one can know. */
export interface Device {
	userAgent: string | undefined;
	address: string;
}

export type Sessions = ReturnType<typeof createSessions>;

/** Builds the service over the table `sessions`. What ends them is in the file beside this one. */
export function createSessions({
	store,
	revocations,
	config,
}: {
	store: Store;
	revocations: Revocations;
	config: Pick<Config, "refreshIdleDays" | "refreshAbsoluteDays" | "refreshGraceSeconds" | "accessTokenSeconds">;
}) {
	const { endSurplus, ...ending } = createEnding({ store, revocations });
	const idleSeconds = config.refreshIdleDays * daySeconds;
	const absoluteSeconds = config.refreshAbsoluteDays * daySeconds;
	/** Without a refresh. */
	const firstSeconds = Math.min(idleSeconds, absoluteSeconds);
	/** From the last write on: within the grace time another access token is given without one. */
	const accessSeconds = config.refreshGraceSeconds + config.accessTokenSeconds;

	/** The later end of all access tokens of a session, after one more was given. */
	const accessUntil = () => {
		const next = sql<number>`${store.nowExpression()} + ${accessSeconds}`;
		return sql<number>`case when access_until > ${next} then access_until else ${next} end`;
	};

	const advance = createAdvance({ store, idleSeconds, accessUntil });

	/** Whether a session is good at `now`, a time of the store: not over, and not begun before what `revoke` has refused. */
	const isLive = ({ createdAt, expiresAt }: Pick<Session, "createdAt" | "expiresAt">, now: number): boolean =>
		expiresAt > now && !revocations.isTooOld(createdAt);

	const findRow = store.prepare((slot: Slot<{ id: string }>) =>
		store.db
			.selectFrom("sessions")
			.select([...sessionColumns, store.nowExpression().as("now")])
			.where("id", "=", slot("id")),
	);

	/**
	 * One statement, because a login waits for each; and so that nothing can change the account in between. Whoever gives up
	 * waiting for it may leave a row behind: a session of which nobody has a token.
	 */
	const insertRow = store.prepare(
		(
			slot: Slot<
				Record<"id" | "userId" | "passwordHash" | "address", string> & { place: number; userAgent: string | null }
			>,
		) => {
			const isPlaced = store.kind === "sqlite";
			const after = (seconds: number) => sql<number>`clock.now + ${sql.lit(seconds)}`;
			return store.db
				.insertInto("sessions")
				.columns([
					...(isPlaced ? (["rowid"] as const) : []),
					...(["id", "user_id", "generation", "user_agent", "address", "created_at", "authenticated_at"] as const),
					...(["refreshed_at", "expires_at", "absolute_expires_at", "access_until", "purge_at"] as const),
				])
				.expression((query) =>
					query
						.selectFrom("users")
						.innerJoin(store.db.selectNoFrom(store.nowExpression().as("now")).as("clock"), (join) => join.onTrue())
						.select((row) => [
							...(isPlaced ? [freePlace(slot("place")).as("rowid")] : []),
							row.val(slot("id")).as("id"),
							"users.id as user_id",
							row.lit(0).as("generation"),
							row.val(slot("userAgent")).as("user_agent"),
							row.val(slot("address")).as("address"),
							"clock.now as created_at",
							"clock.now as authenticated_at",
							"clock.now as refreshed_at",
							after(firstSeconds).as("expires_at"),
							after(absoluteSeconds).as("absolute_expires_at"),
							after(accessSeconds).as("access_until"),
							after(Math.min(firstSeconds, unseenSeconds)).as("purge_at"),
						])
						.where("users.id", "=", slot("userId"))
						.where("users.password_hash", "=", slot("passwordHash"))
						.where("users.disabled_at", "is", null)
						// SQLite has one writer at a time; PostgreSQL makes whoever changes the account wait, and this for them.
						.$if(store.kind === "postgres", (rows) => rows.forShare("users")),
				)
				.returning(sessionColumns);
		},
	);

	/**
	 * Begins a session for an account that has just given its password. Nothing of an earlier one is taken over. Where the
	 * account has too many, the least recently used ones end.
	 *
	 * @param passwordHash what the password was compared with. Who changes it, or disables the account, either comes before
	 * this, and then no session begins; or after, and then ends it.
	 * @returns `undefined` where the account is gone or disabled, or has another password by now.
	 */
	async function begin(
		userId: string,
		{ userAgent, address }: Device,
		passwordHash: string,
	): Promise<Session | undefined> {
		const id = randomId();
		const [session] = await insertRow({
			id,
			place: placeOf(id),
			userId,
			userAgent: userAgent === undefined ? null : cleaned(userAgent),
			address: cleaned(address),
			passwordHash,
		});
		// Where that fails the next login makes up for it: this session has begun, and its owner is to have it.
		if (session) await quietly(endSurplus(userId, session.id));
		return session;
	}

	return {
		...ending,
		advance,
		begin,
		isLive,

		/** The session with this id and the store's time, while it lives. */
		async find(id: string): Promise<{ session: Session; now: number } | undefined> {
			const [row] = await findRow({ id });
			if (!row) return undefined;
			return isLive(row, row.now) ? { session: sessionOf(row), now: row.now } : undefined;
		},

		/** A session as `advance` will make it: all that an access token says of it is known before. */
		ahead: (session: Session, now: number): Session => ({
			...session,
			generation: session.generation + 1,
			refreshedAt: now,
			expiresAt: Math.min(now + idleSeconds, session.absoluteExpiresAt),
			accessUntil: Math.max(now + accessSeconds, session.accessUntil),
		}),

		/** Notes that the password was given again, and that a token follows. `undefined` where the session has ended. */
		async reauthenticate(id: string): Promise<Session | undefined> {
			const now = store.nowExpression();
			const session = await store.db
				.updateTable("sessions")
				.set({ authenticated_at: now, access_until: accessUntil() })
				.where("id", "=", id)
				.where("expires_at", ">", now)
				.returning(sessionColumns)
				.executeTakeFirst();
			return session && !revocations.isTooOld(session.createdAt) ? session : undefined;
		},

		/** The live sessions of an account, the last used first. */
		list: (userId: string): Promise<Session[]> =>
			store.db
				.selectFrom("sessions")
				.select(sessionColumns)
				.where("user_id", "=", userId)
				.where("expires_at", ">", store.nowExpression())
				.orderBy("refreshed_at", "desc")
				.orderBy("id")
				.execute(),
	};
}

/**
 * What may be shown and stored: no controls, no line ends, no broken Unicode, not too long. An address needs it too: a proxy
 * that is trusted can pass any text on as one.
 */
const cleaned = (text: string): string =>
	text
		.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, "")
		.slice(0, longestText)
		.toWellFormed();
