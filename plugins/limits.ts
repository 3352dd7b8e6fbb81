/** What a request may look like before it is routed on: one reading of its host and its credentials, or none. */
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";

export default fp(
	async (app) => {
		app.addHook("onRequest", ({ raw }, _reply, done) => {
			// An absolute target could name another host than the Host header does (RFC 9112 section 3.2.2).
			if (!raw.url?.startsWith("/")) return done(new errors.MALFORMED_REQUEST());
			// Node keeps the first of two; a proxy in front may have looked at the second.
			let hosts = 0;
			let authorizations = 0;
			for (let index = 0; index < raw.rawHeaders.length; index += 2) {
				const name = raw.rawHeaders[index] as string;
				if (name.length === 4 && name.toLowerCase() === "host") hosts++;
				else if (name.length === 13 && name.toLowerCase() === "authorization") authorizations++;
			}
			if (hosts > 1 || authorizations > 1) return done(new errors.MALFORMED_REQUEST());
			done();
		});
	},
	{ name: "limits", dependencies: ["errors"] },
);
