/** Who may call a route: what the route declares, what its guards enforce, and whether the two agree. */

/** `public`, `authenticated`, or the permission that is needed. Every route declares one in `config.access`. */
export type Access = "public" | "authenticated" | (string & {});

/** Where a token may be: the Authorization header, a cookie, or a field of a posted form. */
export type TokenLocation = "header" | "cookie" | "form";

/** What a guard lets through. */
export interface Needs {
	/** Permissions that the token must carry, all of them. */
	permissions?: readonly string[];
	/** Only a token for which the password was given: not one from a refresh. */
	fresh?: boolean;
	/** Seconds for which the password counts as given. */
	maxAge?: number;
	/** Lets requests without any token through as well; a bad token is still refused. */
	optional?: boolean;
	/** Which kind of token; `access` unless said otherwise. */
	kind?: "access" | "refresh" | "either";
	/** Where to look for it, instead of in TOKEN_LOCATIONS. */
	locations?: readonly TokenLocation[];
}

/**
 * Why a route must not start serving, or `undefined` where its declaration and its guards agree.
 *
 * @param declared the route's `config.access`.
 * @param guards what each guard among the route's preHandlers needs; other preHandlers are left out.
 */
export function disagreement(declared: Access | undefined, guards: readonly Needs[]): string | undefined {
	if (declared === undefined) return "declares no config.access: public, authenticated or a permission";
	if (declared === "public") return guards.length === 0 ? undefined : "is declared public, yet has a guard";
	if (guards.length === 0)
		return `is declared ${declared}, yet has no guard: add preHandler: app.authenticate or app.requires({ permissions })`;
	const needed = guards.flatMap(({ permissions }) => permissions ?? []);
	if (guards.every(({ optional }) => optional) && declared !== "authenticated")
		return `is declared ${declared}, yet its guard lets requests without a token through`;
	if (declared === "authenticated")
		return needed.length === 0 ? undefined : "is declared authenticated, yet a guard asks for a permission";
	return needed.includes(declared) ? undefined : `is declared ${declared}, yet no guard asks for that permission`;
}
