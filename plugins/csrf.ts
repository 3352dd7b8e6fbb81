/** Refuses requests that a page of another site sends. */
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import { isSameOrigin } from "../src/same-origin.ts";

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);

export default fp(
	async (app) => {
		const { allowedOrigins } = app.services.config;
		app.addHook("onRequest", (request, _reply, done) => {
			if (safeMethods.has(request.method)) return done();
			const { origin, "sec-fetch-site": site } = request.headers;
			const facts = {
				origin,
				site: site as string | undefined,
				host: request.host,
			};
			done(isSameOrigin(facts, allowedOrigins) ? undefined : new errors.CROSS_ORIGIN_REFUSED());
		});
	},
	{ name: "csrf", dependencies: ["services", "errors"] },
);
