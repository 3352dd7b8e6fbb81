/** The cookies that carry tokens: their names and their attributes, and how they are read from a request. */

/** One of the cookies. `csrf` is the double-submit value: a page's script may read it; alone it opens nothing.
 * `device` says that the browser has logged in before; it outlives the session, and opens nothing either. */
export type CookieKind = "access" | "refresh" | "csrf" | "device";

/**
 * Letters that go into one cookie. Browsers drop a cookie whose name and value have more than 4,096 bytes together
 * (RFC 6265bis section 5.6), and an access token has up to 8,192: a long one goes on in a second and a third cookie.
 */
const partLength = 4000;

/** `__Host-`: only this very host can have set it, over https, for every path (RFC 6265bis section 4.1.3.2). */
export const cookieNames = {
	access: "__Host-access",
	refresh: "__Host-refresh",
	csrf: "__Host-csrf",
	device: "__Host-device",
} as const;

/** The cookies of each kind, in the order of their parts. */
export const partNames: Readonly<Record<CookieKind, readonly string[]>> = {
	access: [cookieNames.access, `${cookieNames.access}.1`, `${cookieNames.access}.2`],
	refresh: [cookieNames.refresh],
	csrf: [cookieNames.csrf],
	device: [cookieNames.device],
};

/** What every one of them has. */
const shared = { path: "/", secure: true } as const;

/** The attributes of each cookie. Set and cleared with the same ones, or a browser keeps the old value. */
export const cookieAttributes = {
	access: { ...shared, httpOnly: true, sameSite: "lax" },
	// Another site's link never sends it: it is needed only by requests that this site makes itself.
	refresh: { ...shared, httpOnly: true, sameSite: "strict" },
	csrf: { ...shared, httpOnly: false, sameSite: "strict" },
	device: { ...shared, httpOnly: true, sameSite: "strict" },
} as const;

/** Every cookie of a kind with its part of the value, empty where the value has ended before. */
export function partsOf(kind: CookieKind, value: string): { name: string; part: string }[] {
	return partNames[kind].map((name, index) => ({
		name,
		part: value.slice(index * partLength, (index + 1) * partLength),
	}));
}

/** The value that the cookies of a kind hold together, empty where there are none. */
export function joinParts(kind: CookieKind, cookies: Readonly<Record<string, string | undefined>>): string {
	let value = "";
	for (const name of partNames[kind]) {
		const part = cookies[name] ?? "";
		value += part;
		// A part that is not full is the last one: what a browser still has behind it belongs to an earlier token.
		if (part.length < partLength) break;
	}
	return value;
}

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
