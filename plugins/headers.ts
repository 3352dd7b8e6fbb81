/** The standard headers and the request id on every answer; `Connection: close` while the process drains. */
import fp from "fastify-plugin";
import { standardHeaders } from "../src/headers.ts";

export default fp(
	async (app) => {
		const { readiness } = app.services;
		app.addHook("onRequest", (request, reply, done) => {
			reply.headers(standardHeaders).header("x-request-id", request.id);
			// Keep-alive clients move to another replica while this one still serves them.
			if (readiness.isDraining()) reply.header("connection", "close");
			done();
		});
	},
	{ name: "headers", dependencies: ["services"] },
);
