/**
 * `request.findVisitor()`: whose browser this is, for pages that look by themselves. It only reads: no cookie is set and
 * no refresh token is used up, so opening a page in many tabs disturbs nothing.
 */
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { codeOf } from "../src/error-answers.ts";
import { errors } from "../src/errors.ts";
import type { Session } from "../src/sessions/session.ts";
import type { User } from "../src/users/users.ts";

/** Somebody who is logged in by cookies. */
export interface Visitor {
	user: User;
	session: Session;
	/** The access cookie has ended: the routes that take it want a refresh first. */
	accessEnded: boolean;
}

declare module "fastify" {
	interface FastifyRequest {
		/** Who is logged in, as the store says now. Throws MALFORMED_REQUEST for cookies that came twice, STORE_UNAVAILABLE. */
		findVisitor(): Promise<Visitor | undefined>;
	}
}

export default fp(
	async (app) => {
		const { changes, refresh, sessions, tokens, users } = app.services;

		app.decorateRequest("findVisitor", async function (this: FastifyRequest): Promise<Visitor | undefined> {
			const cookies = this.cookieTokens();
			const active = cookies.access === undefined ? undefined : await byAccess(this, cookies.access);
			const session = active ?? (cookies.refresh === undefined ? undefined : await byRefresh(this, cookies.refresh));
			const user = session && (await users.find(session.userId));
			return user && !user.disabled ? { user, session, accessEnded: active === undefined } : undefined;
		});

		const byAccess = (request: FastifyRequest, token: string): Promise<Session | undefined> =>
			unlessInvalid(async () => {
				// As a guard does: after a freeze what was revoked meanwhile is heard of first.
				await changes.hold();
				if (!changes.fresh()) throw new errors.STORE_UNAVAILABLE();
				const principal = await app.verifyAccessToken(token);
				await app.checkToken(principal, request);
				return (await sessions.find(principal.sessionId))?.session;
			});

		const byRefresh = (request: FastifyRequest, token: string): Promise<Session | undefined> =>
			unlessInvalid(async () => {
				const session = await refresh.look(token);
				if (session) await app.checkToken(tokens.refreshPrincipal(session), request);
				return session;
			});
	},
	{ name: "visitor", dependencies: ["services", "cookies", "jwt", "extend"] },
);

/** A token that is not good shows nobody; it is no reason to refuse the page. */
async function unlessInvalid(find: () => Promise<Session | undefined>): Promise<Session | undefined> {
	try {
		return await find();
	} catch (error) {
		if (codeOf(error) !== "INVALID_TOKEN") throw error;
		return undefined;
	}
}
