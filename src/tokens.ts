/**
 * Access tokens (RFC 9068): what they say, and every check on them but the signature, which @fastify/jwt makes.
 * All of these checks are here and nowhere else.
 */
import type { Clock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import { errors } from "./errors.ts";
import type { ExtraClaims } from "./extend.ts";
import type { VerificationKey } from "./keys/key-pair.ts";
import type { Keys } from "./keys/keys.ts";
import { type Principal, toleranceSeconds } from "./principal.ts";
import { randomId } from "./random.ts";
import type { Revocations } from "./revocations.ts";
import type { Session } from "./sessions/session.ts";
import type { User } from "./users/users.ts";

/** Longer tokens are refused unread. */
const longestToken = 8192;
/** The last letters of a base64url segment whose unused bits are zero, by the segment's length modulo 4. */
const lastLetters = [/[\w-]$/, /^$/, /[AQgw]$/, /[AEIMQUYcgkosw048]$/] as const;

/** The claims of an access token. Times are NumericDates. */
export interface AccessClaims {
	iss: string;
	sub: string;
	aud: readonly string[];
	exp: number;
	nbf: number;
	iat: number;
	/** When the password was last given (RFC 9068 section 2.2.1). */
	auth_time: number;
	jti: string;
	sid: string;
	client_id: string;
	type: "access";
	fresh: boolean;
	roles: readonly string[];
	permissions: readonly string[];
}

export type Tokens = ReturnType<typeof createTokens>;

/** Builds the rules from the configuration, the key ring and the revocations. */
export function createTokens({
	config,
	keys,
	clock,
	revocations,
}: {
	config: Config;
	keys: Keys;
	clock: Clock;
	revocations: Pick<Revocations, "has" | "issuedBefore">;
}) {
	/**
	 * The time of a new token: never one that is refused already. After `revoke --issued-before now` a clock behind the
	 * store's would make dead tokens for as long as it is behind. Further ahead than any verifier tolerates helps nobody.
	 */
	function issueTime(): number {
		const now = clock.now();
		const issuedBefore = revocations.issuedBefore();
		return issuedBefore <= now + toleranceSeconds ? Math.max(now, issuedBefore) : now;
	}

	/** Within the grace time a token is given without a write: it may not outlive what the last writer noted of its own. */
	const secondsFor = ({ accessUntil, refreshedAt }: Session): number =>
		Math.min(config.accessTokenSeconds, accessUntil - refreshedAt);

	/** Whether a token has ended (RFC 7519 section 4.1.4). */
	const hasExpired = (principal: Principal): boolean => clock.now() >= principal.expiresAt + toleranceSeconds;

	return {
		/**
		 * How the access tokens that were presented came out, counted by plugins/jwt.ts: good and remembered, good and checked in
		 * full, refused.
		 */
		verifications: { remembered: 0, checked: 0, refused: 0 },

		/**
		 * The claims of a new access token. It never outlives its session, nor the time for which its end would be remembered.
		 *
		 * @param fresh whether the password was given for this very token.
		 * @param extra what `app.extraClaims` answered for it.
		 */
		claimsFor(
			user: User,
			session: Session,
			{ fresh, extra = {} }: { fresh: boolean; extra?: Partial<ExtraClaims> },
		): AccessClaims {
			const now = issueTime();
			return {
				...extra,
				iss: config.issuer,
				sub: user.id,
				aud: config.audience,
				exp: Math.min(now + secondsFor(session), session.expiresAt),
				nbf: now,
				iat: now,
				auth_time: session.authenticatedAt,
				jti: randomId(),
				sid: session.id,
				client_id: config.clientId,
				type: "access",
				fresh,
				roles: user.roles,
				permissions: user.permissions,
			};
		},

		/**
		 * Refuses to give out a token that no door would take, this one included.
		 *
		 * @throws TOO_MANY_ROLES
		 */
		assertUsable(token: string): void {
			if (token.length > longestToken)
				throw new errors.TOO_MANY_ROLES({ cause: new Error(`the token has ${token.length} letters`) });
		},

		/**
		 * Checks size and shape, before anything is decoded: three segments of base64url (RFC 7515 section 7.1), each in
		 * its only spelling (RFC 4648 section 3.5), so that one token has one text. The alphabet is @fastify/jwt's to check.
		 * Answers the protected header, of which nothing is known yet but that it is JSON.
		 *
		 * @throws INVALID_TOKEN
		 */
		readHeader(token: string): unknown {
			if (token.length > longestToken) refuse("it is too long");
			const segments = token.split(".", 4);
			const canonical = (segment: string) => lastLetters[segment.length % 4]?.test(segment.slice(-1));
			if (segments.length !== 3 || !segments.every(canonical)) refuse("it is not three segments of base64url");
			try {
				return JSON.parse(Buffer.from(segments[0] as string, "base64url").toString());
			} catch {
				return refuse("its header is not JSON");
			}
		},

		/**
		 * Checks the protected header (RFC 7515 section 4, RFC 8725 section 3.1) and answers the key it names.
		 *
		 * @throws INVALID_TOKEN
		 */
		keyFor(header: unknown): VerificationKey {
			if (!isObject(header)) return refuse("its header is not an object");
			const { alg, kid, typ } = header;
			if (typeof typ !== "string" || !/^(application\/)?at\+jwt$/i.test(typ)) refuse("its typ is not at+jwt");
			for (const name of ["crit", "b64", "zip"]) if (Object.hasOwn(header, name)) refuse(`its header holds ${name}`);
			const key = typeof kid === "string" ? keys.find(kid) : undefined;
			if (!key) return refuse("its kid is not in the ring");
			if (alg !== key.algorithm) refuse("its alg is not the one of its key");
			return key;
		},

		/**
		 * Checks the claims of a token whose signature is good, all but the present time.
		 *
		 * @throws INVALID_TOKEN
		 */
		principal(claims: unknown): Principal {
			if (!isObject(claims)) return refuse("its payload is not an object");
			const { iss, sub, aud, exp, nbf, iat, auth_time, jti, sid, client_id, ...others } = claims;
			const { type, fresh, roles, permissions, ...extra } = others;
			if (iss !== config.issuer) refuse("iss is not this service");
			if (!isAudience(aud) || ![aud].flat().some((one) => config.audience.includes(one)))
				refuse("aud does not hold this service");
			if (!isTime(exp) || !isTime(nbf) || !isTime(iat) || !isTime(auth_time))
				return refuse("exp, nbf, iat or auth_time is not a time");
			if (!isId(sub) || !isId(jti) || !isId(sid) || !isId(client_id))
				return refuse("sub, jti, sid or client_id is not an id");
			if (type !== "access") refuse("type is not access");
			if (typeof fresh !== "boolean") return refuse("fresh is not true or false");
			if (!isTexts(roles) || !isTexts(permissions)) return refuse("roles or permissions is not a list");
			if (Math.max(nbf, iat) > clock.now() + toleranceSeconds) refuse("it is not valid yet");
			return Object.freeze({
				kind: "access",
				id: sub,
				sessionId: sid,
				tokenId: jti,
				clientId: client_id,
				roles: Object.freeze(roles),
				permissions: Object.freeze(permissions),
				claims: deepFrozen(extra),
				fresh,
				authenticatedAt: auth_time,
				issuedAt: iat,
				expiresAt: exp,
			});
		},

		/** Who a refresh token stands for: the account and its session, without roles and permissions. */
		refreshPrincipal: (session: Session): Principal => {
			const { id, userId, generation, authenticatedAt, refreshedAt, expiresAt } = session;
			return Object.freeze({
				kind: "refresh",
				id: userId,
				sessionId: id,
				tokenId: `${id}.${generation}`,
				clientId: config.clientId,
				roles: [],
				permissions: [],
				claims: {},
				fresh: false,
				authenticatedAt,
				issuedAt: refreshedAt,
				expiresAt,
			});
		},

		hasExpired,

		/**
		 * Refuses a token that has ended or was revoked. Asked each time one is presented: what was true of it a moment ago
		 * may not be any more.
		 *
		 * @throws INVALID_TOKEN
		 */
		assertLive(principal: Principal): Principal {
			if (hasExpired(principal)) refuse("it has expired");
			if (revocations.has(principal)) refuse(`its session ${principal.sessionId} or its account was ended`);
			return principal;
		},
	};
}

/** Refuses a token. The reason is for the log; every refusal looks the same to the client. */
export function refuse(reason: string): never {
	throw new errors.INVALID_TOKEN({ cause: new Error(reason) });
}

/** The same value, which nobody can change any more at any depth. */
function deepFrozen<Value>(value: Value): Value {
	if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) deepFrozen(inner);
	return Object.freeze(value);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);

/** A NumericDate of this era; JSON can also hold 1e400, which is Infinity. */
const isTime = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 1e11;

const isId = (value: unknown): value is string => typeof value === "string" && value.length > 0 && value.length <= 256;

const isTexts = (value: unknown): value is string[] =>
	Array.isArray(value) && value.every((item) => typeof item === "string");

/** One audience or a list of them (RFC 7519 section 4.1.3); a long list is an attack, not an audience. */
const isAudience = (value: unknown): value is string | string[] =>
	typeof value === "string" || (isTexts(value) && value.length <= 64);
