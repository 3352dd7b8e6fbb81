/**
 * Who sent the request. Two names: `app.authenticate`, the plain preHandler, and `app.requires({ … })`, which makes
 * the stricter ones. Behind either of them `request.principal` is there; on any other route it throws.
 */
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from "fastify";
import fp from "fastify-plugin";
import type { Needs } from "../src/access.ts";
import { errors } from "../src/errors.ts";
import { type Principal, refuse } from "../src/tokens.ts";

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
		/** Makes a guard that also asks for permissions; without them it answers 403. */
		requires(needs: Needs): Guard;
	}
	interface FastifyRequest {
		/** Who sent the request, as its verified token says. Throws on a route that does not authenticate. */
		readonly principal: Principal;
		/** Set by the guard; read `principal` instead. */
		verifiedPrincipal: Principal | null;
	}
}

export default fp(
	async (app) => {
		const { changes, revocations, tokens } = app.services;
		app.decorateRequest("verifiedPrincipal", null);
		app.decorateRequest("principal", {
			getter() {
				if (this.verifiedPrincipal === null)
					throw new Error("request.principal needs app.authenticate or app.requires() as the route's preHandler");
				return this.verifiedPrincipal;
			},
		});

		const requires = ({ permissions }: Needs): Guard => {
			const guard = (request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction) => {
				let pending: Promise<void> | undefined;
				try {
					pending = check(request, permissions);
				} catch (error) {
					return done(error as Error);
				}
				// A remembered token is answered without a promise: that is the common case, and the fast one.
				if (pending === undefined) done();
				else pending.then(() => done(), done);
			};
			return Object.assign(guard, { needs: Object.freeze({ permissions: [...permissions] }) });
		};
		app.decorate("requires", requires);
		app.decorate("authenticate", requires({ permissions: [] }));

		function check(request: FastifyRequest, permissions: readonly string[]): Promise<void> | undefined {
			const held = changes.hold();
			if (held) return held.then(() => check(request, permissions));
			if (!changes.fresh()) throw new errors.STORE_UNAVAILABLE();
			const found = app.verifyAccessToken(request, bearerToken(request));
			if (found instanceof Promise) return found.then((principal) => admit(request, principal, permissions));
			admit(request, found, permissions);
			return undefined;
		}

		/** The checks that time and administrators can change: made on every request, never remembered. */
		function admit(request: FastifyRequest, principal: Principal, permissions: readonly string[]): void {
			if (tokens.hasExpired(principal)) refuse("it has expired");
			if (revocations.hasAccount(principal.id)) refuse(`its account ${principal.id} is disabled or deleted`);
			if (!permissions.every((permission) => principal.permissions.includes(permission)))
				throw new errors.INSUFFICIENT_PERMISSIONS({ cause: new Error(`account ${principal.id}`) });
			request.verifiedPrincipal = principal;
		}
	},
	{ name: "auth", dependencies: ["services", "errors", "jwt"] },
);

/**
 * The token of the Authorization header (RFC 6750 section 2.1), the only place where one is looked for.
 *
 * @throws AUTHENTICATION_REQUIRED where no Bearer token came
 */
function bearerToken({ headers: { authorization } }: FastifyRequest): string {
	if (authorization === undefined) throw new errors.AUTHENTICATION_REQUIRED();
	if (authorization.startsWith("Bearer ")) return authorization.slice(7);
	const [scheme = "", token = "", ...rest] = authorization.split(" ");
	if (scheme.toLowerCase() !== "bearer") throw new errors.AUTHENTICATION_REQUIRED();
	return rest.length === 0 ? token : refuse("the Authorization header has more than a scheme and a token");
}
