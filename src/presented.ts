/** Where a request's token is: which one of several counts, and what is refused as ambiguous (RFC 6750 section 2). */
import type { TokenLocation } from "./access.ts";
import { errors } from "./errors.ts";
import { refuse } from "./tokens.ts";

/** A token and where it was. */
export interface FoundToken {
	token: string;
	kind: "access" | "refresh";
	location: TokenLocation;
	/** Whether a token cookie came with the request, used or not: then the checks against forged requests hold. */
	cookies: boolean;
}

/** What is looked at of a request. */
export interface PresentingRequest {
	headers: { authorization?: string | undefined; cookie?: string | undefined };
	body?: unknown;
	cookieTokens(): { access?: string; refresh?: string };
}

/**
 * The token of a request. One that the caller wrote itself, in the header or the form, goes before a cookie, which a
 * browser adds; two of those are refused.
 *
 * @param kind of `either`, cookies that hold both are read for the refresh token, because it outlives the other.
 * @throws TWO_CREDENTIALS, INVALID_TOKEN where the header cannot be read, MALFORMED_REQUEST where a cookie came twice
 */
export function findToken(
	request: PresentingRequest,
	kind: "access" | "refresh" | "either",
	looksIn: Readonly<Record<TokenLocation, boolean>>,
): FoundToken | undefined {
	const { authorization, cookie: cookieHeader } = request.headers;
	const cookieTokens = cookieHeader !== undefined && looksIn.cookie ? request.cookieTokens() : {};
	const cookies = cookieTokens.access !== undefined || cookieTokens.refresh !== undefined;
	const header = looksIn.header ? bearerToken(authorization) : undefined;
	const formTokens = looksIn.form ? tokensOfForm(request.body) : {};
	const form = pick(formTokens, kind);
	const two = kind === "either" && formTokens.access !== undefined && formTokens.refresh !== undefined;
	if (two || (header !== undefined && form !== undefined)) throw new errors.TWO_CREDENTIALS();
	if (header !== undefined) {
		// An access token has dots, a refresh token has none.
		const isAccess = kind === "access" || (kind === "either" && header.includes("."));
		return { token: header, kind: isAccess ? "access" : "refresh", location: "header", cookies };
	}
	if (form !== undefined) return { ...form, location: "form", cookies };
	const cookie = cookies ? pick(cookieTokens, kind) : undefined;
	return cookie && { ...cookie, location: "cookie", cookies };
}

function pick(
	{ access, refresh }: { access?: string; refresh?: string },
	kind: "access" | "refresh" | "either",
): { token: string; kind: "access" | "refresh" } | undefined {
	if (kind !== "access" && refresh !== undefined) return { token: refresh, kind: "refresh" };
	if (kind !== "refresh" && access !== undefined) return { token: access, kind: "access" };
	return undefined;
}

/** The fields of a posted form, or members of JSON (RFC 6750 section 2.2). */
function tokensOfForm(body: unknown): { access?: string; refresh?: string } {
	const { access_token: access, refresh_token: refresh } = (body ?? {}) as Record<string, unknown>;
	return {
		...(typeof access === "string" ? { access } : {}),
		...(typeof refresh === "string" ? { refresh } : {}),
	};
}

/** The token of an Authorization header of the scheme Bearer (RFC 6750 section 2.1); other schemes are not ours. */
function bearerToken(authorization: string | undefined): string | undefined {
	if (authorization === undefined) return undefined;
	if (authorization.startsWith("Bearer ")) return authorization.slice(7);
	const [scheme = "", token = "", ...rest] = authorization.split(" ");
	if (scheme.toLowerCase() !== "bearer") return undefined;
	return rest.length === 0 ? token : refuse("the Authorization header has more than a scheme and a token");
}
