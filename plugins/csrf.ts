/** Refuses requests that a page of another site sends. */
import type { onRequestHookHandler } from "fastify";
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import { isSameOrigin, safeMethods } from "../src/same-origin.ts";

export default fp(
	async (app) => {
		const { allowedOrigins } = app.services.config;
		const check: onRequestHookHandler = (request, _reply, done) => {
			if (safeMethods.has(request.method)) return done();
			const { origin, "sec-fetch-site": site } = request.headers;
			const facts = { origin, site: site as string | undefined, host: request.host };
			done(isSameOrigin(facts, allowedOrigins) ? undefined : new errors.CROSS_ORIGIN_REFUSED());
		};
		// On every route that can change something. The others need not pay for it.
		app.addHook("onRoute", (route) => {
			if ([route.method].flat().every((method) => safeMethods.has(method))) return;
			route.onRequest = [check, ...[route.onRequest ?? []].flat()];
		});
	},
	{ name: "csrf", dependencies: ["services", "errors"] },
);
