/** Where a login may lead to: a path of this origin or an allowed host. Whatever is unclear leads to the start page. */

/** Longer ones are refused unread. */
const longest = 2048;

/** Stands for this very origin; no real host can have this name (RFC 2606 section 2). */
const here = "https://here.invalid";

/** What proxies and browsers read in different ways: `//`, and `/`, `\`, `%` or a control character in disguise. */
const ambiguous = /\/\/|%(2f|5c|25|[01][0-9a-f]|7f)/i;

/**
 * The Location for a `next` that anybody may have written.
 *
 * @param next a path with its query, or an https address.
 * @param hosts REDIRECT_HOSTS: a name, or with a leading dot every host under it.
 * @returns `next`, with what is not ASCII encoded, or `/` where it is not allowed.
 */
export function redirectTarget(next: string | undefined, hosts: readonly string[]): string {
	if (next === undefined || next.length > longest) return "/";
	// A path in Korean is a path: browsers send it so.
	const text = next.toWellFormed().replace(/[^\p{ASCII}]+/gu, encodeURIComponent);
	const url = URL.parse(text, here);
	if (url === null) return "/";
	const rest = url.pathname + url.search + url.hash;
	// Only what a browser reads exactly as it is written: it drops tabs, turns `\` into `/`, and believes in user names.
	if (url.origin === here) return text === rest && !ambiguous.test(url.pathname) ? text : "/";
	const isAllowed = hosts.some((host) => (host.startsWith(".") ? url.host.endsWith(host) : url.host === host));
	const isPlain = text === url.origin + rest || text === url.origin;
	return url.protocol === "https:" && isAllowed && isPlain ? text : "/";
}
