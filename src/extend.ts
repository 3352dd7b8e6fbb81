/** What an author adds to tokens, in a plugin file of their own: the types to complete, and the rules for claims. */
import { isDeepStrictEqual } from "node:util";
import type { Principal } from "./principal.ts";
import type { Session } from "./sessions/session.ts";
import type { AccessClaims } from "./tokens.ts";
import type { User } from "./users/users.ts";

/** Claims that this installation adds to every access token. Complete it by declaration merging. */
// biome-ignore lint/suspicious/noEmptyInterface: it is here to be completed.
export interface ExtraClaims {}

/** What `request.currentUser()` answers. Complete it by declaration merging. */
// biome-ignore lint/suspicious/noEmptyInterface: it is here to be completed.
export interface CurrentUser {}

/** For whom a token is made. */
export interface NewToken {
	user: User;
	session: Session;
}

/** Some of the extra claims; never one of ours. */
export type GivenClaims = Partial<ExtraClaims> & { [Name in keyof AccessClaims]?: never };

/** Gives claims for a token that is about to be made. */
export type ClaimsSource = (token: NewToken) => GivenClaims | Promise<GivenClaims>;

/** The author's own check of a token that is good otherwise: anything but `true` refuses it. */
export type TokenCheck<Request> = (principal: Principal, request: Request) => boolean | Promise<boolean>;

/** Finds the author's own user behind a token; `undefined` refuses it. */
export type UserLoader = (principal: Principal) => CurrentUser | undefined | Promise<CurrentUser | undefined>;

/** The most that extra claims may add, in bytes of JSON: every request carries them, and a token over 8192 letters is refused. */
const mostBytes = 2048;

/** The claims of every token. Listed as a record, so that a new one cannot be forgotten here. */
const standard: Record<keyof AccessClaims, true> = {
	iss: true,
	sub: true,
	aud: true,
	exp: true,
	nbf: true,
	iat: true,
	auth_time: true,
	jti: true,
	sid: true,
	client_id: true,
	type: true,
	fresh: true,
	roles: true,
	permissions: true,
};

/**
 * The claims that several sources give, as one object.
 *
 * @throws where one is a standard claim, is given twice, is not JSON, or all of them are too long: a fault of the
 * plugin that gives them, so no token is made.
 */
export function mergeClaims(given: readonly object[]): Partial<ExtraClaims> {
	const claims: Record<string, unknown> = {};
	for (const [name, value] of given.flatMap((one) => Object.entries(one))) {
		if (Object.hasOwn(standard, name)) throw new Error(`addClaims gives ${name}, which is a claim of every token`);
		if (Object.hasOwn(claims, name)) throw new Error(`addClaims gives ${name} twice`);
		if (!isJson(value)) throw new Error(`addClaims gives ${name} a value that JSON cannot hold`);
		claims[name] = value;
	}
	if (Buffer.byteLength(JSON.stringify(claims)) > mostBytes)
		throw new Error(`addClaims gives more than ${mostBytes} bytes of claims`);
	return claims;
}

/** Whether a value comes back from JSON as it was. */
function isJson(value: unknown): boolean {
	try {
		return isDeepStrictEqual(JSON.parse(JSON.stringify(value)), value);
	} catch {
		return false;
	}
}
