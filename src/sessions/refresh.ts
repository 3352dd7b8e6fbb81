/**
 * What a refresh token may do. The newest one of a session gets a successor; the one before it gets the same successor
 * for a short time, because answers are lost and browsers have tabs. Any other was used before: somebody has a copy, and
 * the session ends (RFC 9700 section 4.14.2).
 */
import { errors } from "../errors.ts";
import type { NewToken } from "../extend.ts";
import { refusal } from "../security-events/events.ts";
import type { User, Users } from "../users/users.ts";
import type { NamedGeneration, RefreshTokens } from "./refresh-token.ts";
import type { Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** A refresh token that is good, and the session it names. */
export interface PresentedRefresh {
	readonly session: Session;
	/** Whether it is the newest one; otherwise it is the one before, within its grace time. */
	readonly current: boolean;
	/** The session as it will be when its next token is given; it is so already where this one is the one before. */
	readonly next: Session;
	/** The account that it belongs to, as it was a moment ago. */
	readonly user: User;
}

/** What a token comes to: good, used before, or nothing. */
type Verdict = PresentedRefresh | { reused: Session } | undefined;

export type Refresh = ReturnType<typeof createRefresh>;

/** Builds the service. */
export function createRefresh({
	sessions,
	refreshTokens,
	users,
	graceSeconds,
}: {
	sessions: Sessions;
	refreshTokens: RefreshTokens;
	users: Users;
	graceSeconds: number;
}) {
	const renewed = { ok: 0, grace: 0 };
	/** The sessions that this process is moving on right now. */
	const advancing = new Map<string, { generation: number; moved: Promise<boolean> }>();

	/**
	 * Moves a session on, one attempt at a time: whoever comes second waits here, without a connection to the store, so that
	 * many requests with one token leave it free for others. With a grace time they get what the first one gets.
	 */
	async function advance(session: Session): Promise<boolean> {
		const { id, generation } = session;
		const ahead = advancing.get(id);
		if (ahead) return (await ahead.moved) && graceSeconds > 0 && ahead.generation === generation;
		const moved = sessions.advance(session).finally(() => advancing.delete(id));
		advancing.set(id, { generation, moved });
		return moved;
	}

	async function judge(named: NamedGeneration): Promise<Verdict> {
		const found = await users.findBySession(named.sessionId);
		if (!found) return undefined;
		const { session, user, now } = found;
		if (named.generation === session.generation)
			return { session, user, current: true, next: sessions.ahead(session, now) };
		const isPredecessor = named.generation === session.generation - 1;
		if (isPredecessor && graceSeconds > 0 && now <= session.refreshedAt + graceSeconds)
			return { session, user, current: false, next: session };
		// Older, too late, or newer than the row: then the store was rolled back to before that token was made.
		return { reused: session };
	}

	async function admit(named: NamedGeneration): Promise<PresentedRefresh> {
		const verdict = await judge(named);
		if (!verdict) throw refused("its session has ended", { session: named.sessionId });
		if ("session" in verdict) return verdict;
		const { id, userId, generation } = verdict.reused;
		await sessions.end(id);
		const facts = { session: id, user: userId, generation, given: named.generation };
		throw new errors.INVALID_TOKEN({
			cause: refusal({ event: "refresh_token_reuse", reason: "it was used before", ...facts }),
		});
	}

	/**
	 * Goes on to the next generation, or hands out the one that a moment ago became the next.
	 *
	 * @param make makes the access token that comes with it. It is called before the generation moves: where it fails, or
	 * anything else here, the client's refresh token stays as good as it was. After the move only the answer is written.
	 * @throws INVALID_TOKEN where the account is disabled or the session has ended meanwhile, STORE_UNAVAILABLE
	 */
	async function renew<Made>(
		{ session, user, current, next }: PresentedRefresh,
		make: (token: NewToken) => Promise<Made>,
	): Promise<{ session: Session; made: Made }> {
		if (user.disabled) throw refused("its account is disabled", { session: session.id, user: user.id });
		const made = await make({ user, session: next });
		if (!current) {
			renewed.grace++;
			return { session, made };
		}
		if (await advance(session)) {
			renewed.ok++;
			return { session: next, made };
		}
		// Another request with the same token was faster: now this one is the predecessor.
		return renew(await admit({ sessionId: session.id, generation: session.generation }), make);
	}

	return {
		renew,

		/** How many tokens got a successor, the newest ones and those within their grace time. Refusals are events. */
		stats: () => ({ ...renewed }),

		/**
		 * Accepts a refresh token, or ends its session where the token was used before. A forged one ends nothing.
		 *
		 * @throws INVALID_TOKEN, STORE_UNAVAILABLE
		 */
		async present(token: string): Promise<PresentedRefresh> {
			const named = refreshTokens.read(token);
			if (!named) throw refused("it is no refresh token of this service");
			return admit(named);
		},

		/** The session that a refresh token names and could still refresh. Looks only: changes nothing, ends nothing. */
		async look(token: string): Promise<Session | undefined> {
			const named = refreshTokens.read(token);
			const verdict = named && (await judge(named));
			return verdict && "session" in verdict ? verdict.session : undefined;
		},

		/** The session that a refresh token was made for, however old the token is. */
		sessionIdOf: (token: string): string | undefined => refreshTokens.read(token)?.sessionId,

		/** The newest refresh token of a session. */
		tokenOf: ({ id, generation }: Session): string => refreshTokens.make({ sessionId: id, generation }),
	};
}

/** A refresh token that was not taken, for a reason that is no sign of theft. */
const refused = (reason: string, facts: { session?: string; user?: string } = {}): Error =>
	new errors.INVALID_TOKEN({ cause: refusal({ event: "refresh_token_refused", reason, ...facts }) });
