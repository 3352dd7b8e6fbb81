/** The cookies that carry tokens: their names and their attributes, and how they are read from a request. */

/** `__Host-`: only this very host can have set it, over https, for every path (RFC 6265bis section 4.1.3.2). */
export const cookieNames = {
	access: "__Host-access",
	refresh: "__Host-refresh",
	/** The double-submit value. A page's script may read it; alone it opens nothing. */
	csrf: "__Host-csrf",
} as const;

/** One of the cookies. */
export type CookieKind = keyof typeof cookieNames;

/** What every one of them has. */
const shared = { path: "/", secure: true } as const;

/** The attributes of each cookie. Set and cleared with the same ones, or a browser keeps the old value. */
export const cookieAttributes = {
	access: { ...shared, httpOnly: true, sameSite: "lax" },
	// Another site's link never sends it: it is needed only by requests that this site makes itself.
	refresh: { ...shared, httpOnly: true, sameSite: "strict" },
	csrf: { ...shared, httpOnly: false, sameSite: "strict" },
} as const;

/**
 * How often each name occurs in a Cookie header (RFC 6265 section 5.4). A name that comes twice was planted once.
 */
export function countCookies(header: string): Map<string, number> {
	const counts = new Map<string, number>();
	for (const pair of header.split(";")) {
		const name = pair.split("=", 1)[0]?.trim() ?? "";
		counts.set(name, (counts.get(name) ?? 0) + 1);
	}
	return counts;
}
