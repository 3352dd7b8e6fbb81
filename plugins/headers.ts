/** The standard headers and the request id on every answer; `Connection: close` while the process drains. */
import type { onSendHookHandler } from "fastify";
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
		// The answers that wait, for a hash, may have begun before the drain did. The others need no second look.
		app.addHook("onRoute", (route) => {
			if (route.schema?.body === undefined) return;
			const close: onSendHookHandler = (_request, reply, payload, done) => {
				if (readiness.isDraining()) reply.header("connection", "close");
				done(null, payload);
			};
			route.onSend = [close, ...[route.onSend ?? []].flat()];
		});
	},
	{ name: "headers", dependencies: ["services"] },
);
