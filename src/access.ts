/** Who may call a route: what the route declares, what its guards enforce, and whether the two agree. */

/** `public`, `authenticated`, or the permission that is needed. Every route declares one in `config.access`. */
export type Access = "public" | "authenticated" | (string & {});

/** What a guard lets through: any verified token, or only one that carries these permissions. */
export interface Needs {
	permissions: readonly string[];
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
	const needed = guards.flatMap(({ permissions }) => permissions);
	if (declared === "authenticated")
		return needed.length === 0 ? undefined : "is declared authenticated, yet a guard asks for a permission";
	return needed.includes(declared) ? undefined : `is declared ${declared}, yet no guard asks for that permission`;
}
