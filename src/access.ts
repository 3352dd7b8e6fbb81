/** Who may call a route: what the route declares, what its guards enforce, and whether the two agree. */

/** `public`, `authenticated`, or the permission that is needed. Every route declares one in `config.access`. */
export type Access = "public" | "authenticated" | (string & {});

/** Where a token may be: the Authorization header, a cookie, or a field of a posted form. */
export const tokenLocations = ["header", "cookie", "form"] as const;
export type TokenLocation = (typeof tokenLocations)[number];

/** Which token counts. */
export const tokenKinds = ["access", "refresh", "either"] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** What a guard lets through. */
export interface Needs {
	/** Permissions that the token must carry, all of them. */
	permissions?: readonly string[];
	/** Only a token for which the password was given: not one from a refresh. */
	fresh?: boolean;
	/** Seconds for which the password counts as given. */
	maxAge?: number;
	/** Lets requests without any token through as well, so it can ask for nothing else; a bad token is still refused. */
	optional?: boolean;
	/** Which kind of token; `access` unless said otherwise. */
	kind?: TokenKind;
	/** Where to look for it, instead of in TOKEN_LOCATIONS. */
	locations?: readonly TokenLocation[];
}

/** Every name in `Needs`: a mistyped one would silently ask for nothing. */
const names: Record<keyof Needs, true> = {
	permissions: true,
	fresh: true,
	maxAge: true,
	optional: true,
	kind: true,
	locations: true,
};

/** Why a guard cannot do what it is asked to, or `undefined` where it can. Types say most of it, but nothing checks them at a start. */
export function impossible(needs: Needs): string | undefined {
	const { permissions = [], fresh = false, maxAge = 0, kind = "access", locations = tokenLocations } = needs;
	for (const name of Object.keys(needs)) if (!Object.hasOwn(names, name)) return `there is no option ${name}`;
	if (!tokenKinds.includes(kind)) return `kind is one of ${tokenKinds.join(", ")}`;
	if (!Number.isSafeInteger(maxAge) || maxAge < 0) return "maxAge is a number of seconds, 0 or more";
	if (locations.length === 0) return "locations is empty: no token could ever come";
	const unknown = locations.find((location) => !tokenLocations.includes(location));
	if (unknown !== undefined) return `there is no location ${unknown}, only ${tokenLocations.join(", ")}`;
	if (needs.optional && (permissions.length > 0 || fresh || needs.maxAge !== undefined))
		return "optional lets everybody in: permissions, fresh and maxAge need a guard that does not";
	if (kind !== "access" && permissions.length > 0) return "a refresh token carries no permissions";
	if (kind !== "access" && fresh) return "a refresh token is never fresh";
	return undefined;
}

/** What each guard among a route's preHandlers needs; other preHandlers are left out. */
export const needsOf = (preHandlers: unknown): Needs[] =>
	[preHandlers ?? []].flat().flatMap((handler) => (handler as { needs?: Needs }).needs ?? []);

/**
 * Why a route must not start serving, or `undefined` where its declaration and its guards agree.
 *
 * @param declared the route's `config.access`.
 * @param guards what each of its guards needs.
 */
export function disagreement(declared: Access | undefined, guards: readonly Needs[]): string | undefined {
	if (declared === undefined) return "declares no config.access: public, authenticated or a permission";
	const asksForPermission = guards.some(({ permissions = [] }) => permissions.length > 0);
	// A guard that lets everybody through only looks who is there: such a route is open, and has to say so.
	const isOpen = guards.every(({ optional }) => optional);
	if (declared === "public") {
		if (!isOpen) return "is declared public, yet has a guard";
		return asksForPermission ? "is declared public, yet a guard asks for a permission" : undefined;
	}
	if (guards.length === 0)
		return `is declared ${declared}, yet has no guard: add preHandler: app.authenticate or app.requires({ permissions })`;
	if (isOpen) return `is declared ${declared}, yet its guard is optional: that is public`;
	if (declared === "authenticated")
		return asksForPermission ? "is declared authenticated, yet a guard asks for a permission" : undefined;
	// Not those of an optional guard: who shows it nothing gets past it.
	const needed = guards.flatMap(({ optional, permissions = [] }) => (optional ? [] : permissions));
	return needed.includes(declared) ? undefined : `is declared ${declared}, yet no guard asks for that permission`;
}
