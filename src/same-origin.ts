/**
 * The same-origin rule for requests that change something: a page of another site must not act with this browser
 * (login CSRF included). Programs send neither header and are not concerned.
 */

/** Methods that change nothing (RFC 9110 section 9.2.1): the rule is not about them. */
export const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** What the rule looks at. */
export interface OriginFacts {
	/** `Sec-Fetch-Site`, which pages cannot set (W3C Fetch Metadata). */
	site: string | undefined;
	/** `Origin` (RFC 6454 section 7). */
	origin: string | undefined;
	/** The host that the client asked for. */
	host: string;
}

/**
 * Whether the request may go on. `Sec-Fetch-Site` decides where it is there; otherwise `Origin`, which must be the host
 * that was asked or one of `allowedOrigins`; both absent passes.
 */
export function isSameOrigin({ site, origin, host }: OriginFacts, allowedOrigins: readonly string[]): boolean {
	if (site !== undefined) return site === "same-origin" || site === "none";
	if (origin === undefined || allowedOrigins.includes(origin)) return true;
	// `null` (sandboxed frames, redirects) is not a URL and refused with everything else that is none.
	const url = URL.parse(origin);
	return url !== null && url.origin === origin && url.host === URL.parse(`${url.protocol}//${host}`)?.host;
}
