/** Tokens in cookies, for browsers: reading them from a request, setting and clearing them on an answer. */
import fastifyCookie from "@fastify/cookie";
import type { FastifyReply, FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { type CookieKind, cookieAttributes, countCookies, joinParts, partNames, partsOf } from "../src/cookies.ts";
import { errors } from "../src/errors.ts";

/** The tokens that came in cookies. */
export interface CookieTokens {
	access?: string;
	refresh?: string;
	device?: string;
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
		/** Takes all of them back; the device's, which is for the next login, only where it is void from now on. */
		clearTokenCookies(also?: { device: boolean }): FastifyReply;
	}
}

const kinds = Object.keys(partNames) as CookieKind[];
const allNames = Object.values(partNames).flat();

export default fp(
	async (app) => {
		// No hook: only routes that look for a cookie pay for reading one.
		await app.register(fastifyCookie, { hook: false });

		app.decorateRequest("cookieTokens", function (this: FastifyRequest): CookieTokens {
			const { cookie } = this.headers;
			if (cookie === undefined) return {};
			const counts = countCookies(cookie);
			if (allNames.some((name) => (counts.get(name) ?? 0) > 1)) throw new errors.MALFORMED_REQUEST();
			const values = app.parseCookie(cookie);
			const access = joinParts("access", values);
			const refresh = joinParts("refresh", values);
			const device = joinParts("device", values);
			return { ...(access && { access }), ...(refresh && { refresh }), ...(device && { device }) };
		});

		app.decorateReply("setTokenCookies", function (this: FastifyReply, values) {
			const before = countCookies(this.request.headers.cookie ?? "");
			for (const kind of kinds) {
				const { value, seconds } = values[kind] ?? { value: undefined, seconds: 0 };
				if (value === undefined) continue;
				for (const { name, part } of partsOf(kind, value))
					if (part !== "") this.setCookie(name, part, { ...cookieAttributes[kind], maxAge: seconds });
					else if (before.has(name)) this.clearCookie(name, cookieAttributes[kind]);
			}
			return this;
		});

		app.decorateReply("clearTokenCookies", function (this: FastifyReply, { device } = { device: false }) {
			for (const kind of kinds)
				if (kind !== "device" || device)
					for (const name of partNames[kind]) this.clearCookie(name, cookieAttributes[kind]);
			return this;
		});
	},
	{ name: "cookies", dependencies: ["errors"] },
);
