/**
 * Who sent the request. Two names: `app.authenticate`, the plain preHandler, and `app.requires({ … })`, which makes
 * every other one. Behind either of them `request.principal` is there; on any other route it throws.
 */
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from "fastify";
import fp from "fastify-plugin";
import { impossible, type Needs, type TokenLocation } from "../src/access.ts";
import { errors } from "../src/errors.ts";
import { type FoundToken, findToken } from "../src/presented.ts";
import type { Principal } from "../src/principal.ts";
import { safeMethods } from "../src/same-origin.ts";
import type { PresentedRefresh } from "../src/sessions/refresh.ts";

/** A preHandler that lets only some requests through, and says which. */
export type Guard = {
	(this: unknown, request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void;
	/** What `plugins/access.ts` holds against the route's declaration. */
	readonly needs: Needs;
};

declare module "fastify" {
	interface FastifyInstance {
		/** Lets requests with a valid access token through, others get 401 (RFC 6750 section 3). */
		authenticate: Guard;
		/** Makes a guard that asks for more, or for something else. Throws, at the start, where that is impossible. */
		requires(needs: Needs): Guard;
	}
	interface FastifyRequest {
		/** Who sent the request, as its verified token says. Throws where no token came, or no guard looked for one. */
		readonly principal: Principal;
		/** The same, or `undefined` where an optional guard found no token. */
		findPrincipal(): Principal | undefined;
		/** Where the token was: answers go the same way. */
		tokenLocation: TokenLocation | null;
		/** The refresh token that a guard has let through: what `refresh.renew` takes. */
		presentedRefresh?: PresentedRefresh;
		/** Set by the guard; read `principal` instead. */
		verifiedPrincipal: Principal | null;
	}
}

/** What a guard asks for, with everything said: worked out once, not for each request. */
type FullNeeds = Readonly<
	Required<Omit<Needs, "maxAge" | "locations">> & {
		maxAge: number | undefined;
		looksIn: Readonly<Record<TokenLocation, boolean>>;
	}
>;

export default fp(
	async (app) => {
		const { checkToken, verifyAccessToken } = app;
		const { changes, clock, config, csrf, refresh, tokens } = app.services;
		app.decorateRequest("tokenLocation", null);
		app.decorateRequest("verifiedPrincipal", null);
		// `presentedRefresh` is not decorated: few routes need it, and every request would pay for it.
		app.decorateRequest("principal", {
			getter() {
				if (this.verifiedPrincipal === null)
					throw new Error("request.principal needs app.authenticate or app.requires() as the route's preHandler");
				return this.verifiedPrincipal;
			},
		});
		app.decorateRequest("findPrincipal", function (this: FastifyRequest) {
			return this.verifiedPrincipal ?? undefined;
		});

		const requires = (asked: Needs): Guard => {
			const fault = impossible(asked);
			if (fault !== undefined) throw new Error(`app.requires(${JSON.stringify(asked)}): ${fault}`);
			const { locations = config.tokenLocations, ...others } = asked;
			const needs: FullNeeds = Object.freeze({
				permissions: [],
				fresh: false,
				maxAge: undefined,
				optional: false,
				kind: "access",
				...others,
				looksIn: {
					header: locations.includes("header"),
					cookie: locations.includes("cookie"),
					form: locations.includes("form"),
				},
			});
			const guard = (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
				let pending: Promise<void> | undefined;
				try {
					pending = check(request, needs);
				} catch (error) {
					return done(error as Error);
				}
				// A remembered token is answered without a promise: that is the common case, and the fast one.
				if (pending === undefined) done();
				else pending.then(() => done(), done);
			};
			return Object.assign(guard, { needs: Object.freeze({ ...asked }) });
		};
		app.decorate("requires", requires);
		app.decorate("authenticate", requires({}));

		function check(request: FastifyRequest, needs: FullNeeds): Promise<void> | undefined {
			const now = changes.nowMs();
			const held = changes.hold(now);
			if (held) return held.then(() => check(request, needs));
			if (!changes.fresh(now)) throw new errors.STORE_UNAVAILABLE();
			const presented = findToken(request, needs.kind, needs.looksIn);
			if (presented === undefined) {
				if (needs.optional) return undefined;
				throw new errors.AUTHENTICATION_REQUIRED();
			}
			const found =
				presented.kind === "access" ? verifyAccessToken(presented.token) : verifyRefresh(request, presented.token);
			if (found instanceof Promise) return found.then((principal) => admit(request, principal, presented, needs));
			return admit(request, found, presented, needs);
		}

		async function verifyRefresh(request: FastifyRequest, token: string): Promise<Principal> {
			request.presentedRefresh = await refresh.present(token);
			return tokens.assertLive(tokens.refreshPrincipal(request.presentedRefresh.session));
		}

		/** The checks that time, administrators and the route can change: made on every request, never remembered. */
		function admit(
			request: FastifyRequest,
			principal: Principal,
			presented: FoundToken,
			needs: FullNeeds,
		): Promise<void> | undefined {
			if (presented.cookies) checkCsrf(request, principal, presented);
			const { permissions, fresh, maxAge } = needs;
			const tooOld = maxAge !== undefined && clock.now() - principal.authenticatedAt > maxAge;
			if (tooOld || (fresh && !principal.fresh)) throw Object.assign(new errors.FRESH_TOKEN_REQUIRED(), { maxAge });
			for (const permission of permissions)
				if (!principal.permissions.includes(permission))
					throw new errors.INSUFFICIENT_PERMISSIONS({ cause: new Error(`account ${principal.id}`) });
			const checked = checkToken(principal, request);
			if (checked) return checked.then(() => letIn(request, principal, presented));
			letIn(request, principal, presented);
			return undefined;
		}

		/** Only now, when everything has passed, is anybody known: a handler never sees a token that was refused. */
		function letIn(request: FastifyRequest, principal: Principal, { location }: FoundToken): void {
			const before = request.verifiedPrincipal;
			// Two guards that look in different places: what one of them asked of a person would count for another one.
			if (before !== null && (before.id !== principal.id || before.sessionId !== principal.sessionId))
				throw new errors.TWO_CREDENTIALS();
			request.tokenLocation = location;
			request.verifiedPrincipal = principal;
		}

		/** A browser adds cookies by itself: whoever changes something has to show that the page knows the session too. */
		function checkCsrf(request: FastifyRequest, { sessionId }: Principal, { location }: FoundToken): void {
			if (safeMethods.has(request.method)) return;
			const { origin, "sec-fetch-site": site, "x-csrf-token": header } = request.headers;
			if (location === "cookie" && origin === undefined && site === undefined) throw new errors.CROSS_ORIGIN_REFUSED();
			const value = header ?? (request.body as { csrf_token?: unknown } | null | undefined)?.csrf_token;
			if (typeof value !== "string" || value === "") throw new errors.CSRF_TOKEN_REQUIRED();
			if (!csrf.matches(sessionId, value)) throw new errors.CSRF_TOKEN_MISMATCH();
		}
	},
	{ name: "auth", dependencies: ["services", "errors", "jwt", "cookies", "extend"] },
);
