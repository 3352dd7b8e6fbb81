/** What a request may look like before it is routed on: one reading of its host and its credentials, or none. */
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";

export default fp(
	async (app) => {
		app.addHook("onRequest", ({ raw }, reply, done) => {
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
			if (hosts === 0 && raw.httpVersion === "1.1") return done(new errors.MALFORMED_REQUEST());
			// A proxy that reads `gzip, chunked` otherwise sees another end of the body: the start of request smuggling
			// (RFC 9112 section 6.1). The connection goes, as its next bytes may be anybody's.
			const coding = raw.headers["transfer-encoding"];
			if (coding !== undefined && (coding.toLowerCase() !== "chunked" || raw.httpVersion === "1.0")) {
				reply.header("connection", "close");
				return done(new errors.MALFORMED_REQUEST());
			}
			// On GET and HEAD a body means nothing, and Fastify would not read it (RFC 9110 section 9.3.1).
			if (coding !== undefined || Number(raw.headers["content-length"] ?? 0) > 0)
				if (raw.method === "GET" || raw.method === "HEAD") return done(new errors.UNSUPPORTED_MEDIA_TYPE());
			done();
		});
	},
	{ name: "limits", dependencies: ["errors"] },
);
