/** The standard headers and the request id on every answer; `Connection: close` while the process drains. */
import fp from "fastify-plugin";
import { standardHeaders } from "../src/headers.ts";

export default fp(
	async (app) => {
		const { readiness } = app.services;
		app.addHook("onRequest", (request, reply, done) => {
			reply.headers(standardHeaders).header("x-request-id", request.id);
			done();
		});
		// Keep-alive clients move to another replica while this one still serves them. Decided with the answer: a login
		// may have waited for its hash since before the drain began.
		app.addHook("onSend", (_request, reply, payload, done) => {
			if (readiness.isDraining()) reply.header("connection", "close");
			done(null, payload);
		});
	},
	{ name: "headers", dependencies: ["services"] },
);
