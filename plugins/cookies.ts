/** Tokens in cookies, for browsers: reading them from a request, setting and clearing them on an answer. */
import fastifyCookie from "@fastify/cookie";
import type { FastifyReply, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { type CookieKind, cookieAttributes, cookieNames, countCookies } from "../src/cookies.ts";
import { errors } from "../src/errors.ts";

/** The tokens that came in cookies. */
export interface CookieTokens {
	access?: string;
	refresh?: string;
}

/** A value and how many seconds a browser keeps it. */
interface CookieValue {
	value: string;
	seconds: number;
}

declare module "fastify" {
	interface FastifyRequest {
		/** The tokens that came in cookies. Throws MALFORMED_REQUEST where one of them came twice. */
		cookieTokens(): CookieTokens;
	}
	interface FastifyReply {
		/** Sets the token cookies and the double-submit value beside them. */
		setTokenCookies(values: Partial<Record<CookieKind, CookieValue>>): FastifyReply;
		/** Takes all of them back. */
		clearTokenCookies(): FastifyReply;
	}
}

const kinds = Object.keys(cookieNames) as CookieKind[];

export default fp(
	async (app) => {
		// No hook: only routes that look for a cookie pay for reading one.
		await app.register(fastifyCookie, { hook: false });

		app.decorateRequest("cookieTokens", function (this: FastifyRequest): CookieTokens {
			const { cookie } = this.headers;
			if (cookie === undefined) return {};
			const counts = countCookies(cookie);
			if (kinds.some((kind) => (counts.get(cookieNames[kind]) ?? 0) > 1)) throw new errors.MALFORMED_REQUEST();
			const values = app.parseCookie(cookie);
			const { [cookieNames.access]: access, [cookieNames.refresh]: refresh } = values;
			return { ...(access ? { access } : {}), ...(refresh ? { refresh } : {}) };
		});

		app.decorateReply("setTokenCookies", function (this: FastifyReply, values) {
			for (const kind of kinds) {
				const one = values[kind];
				if (one) this.setCookie(cookieNames[kind], one.value, { ...cookieAttributes[kind], maxAge: one.seconds });
			}
			return this;
		});

		app.decorateReply("clearTokenCookies", function (this: FastifyReply) {
			for (const kind of kinds) this.clearCookie(cookieNames[kind], cookieAttributes[kind]);
			return this;
		});
	},
	{ name: "cookies", dependencies: ["errors"] },
);
