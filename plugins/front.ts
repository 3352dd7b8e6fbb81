/**
 * The first look at every request: it gets its log, its answer gets the standard headers and the request id, and it is
 * refused where a proxy may have read it otherwise, or where the process is overloaded: before its body is read. One hook for all of it, because every request pays for each hook.
 */
import { createRequire } from "node:module";
import type { FastifyBaseLogger, FastifyReply, onSendHookHandler } from "fastify";
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import { assertOneReading, hasUnclearEnd } from "../src/framing.ts";
import { standardHeaders } from "../src/headers.ts";
import { requestLog } from "../src/log.ts";
import type { Shed } from "../src/pressure.ts";

declare module "fastify" {
	interface FastifyContextConfig {
		/** What an overloaded process refuses `first`, or `never`; the rest comes in between (src/pressure.ts). */
		shed?: Shed;
	}
}

/** Where Fastify keeps the headers of an answer. Nobody promises that it stays there, so a start makes sure. */
const { kReplyHeaders } = createRequire(import.meta.url)("fastify/lib/symbols.js") as { kReplyHeaders: symbol };
if (typeof kReplyHeaders !== "symbol") throw new Error("This version of Fastify keeps its headers elsewhere");

/** All at once: `reply.headers()` does it header by header, which is a twentieth of all that a small request takes. */
const addStandardHeaders = (reply: FastifyReply): void =>
	void Object.assign((reply as unknown as Record<symbol, object>)[kReplyHeaders] as object, standardHeaders);

export default fp(
	async (app) => {
		const { log, pressure, readiness } = app.services;
		app.addHook("onRequest", (request, reply, done) => {
			request.log = requestLog(log, request.id) as FastifyBaseLogger;
			reply.log = request.log;
			addStandardHeaders(reply);
			reply.header("x-request-id", request.id);
			// Keep-alive clients move to another replica while this one still serves them.
			if (readiness.isDraining() || hasUnclearEnd(request.raw)) reply.header("connection", "close");
			assertOneReading(request.raw);
			if (pressure.enter() > 0 && pressure.refuses(request.routeOptions.config?.shed)) throw new errors.OVERLOADED();
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
	{ name: "front", dependencies: ["services", "observe"] },
);
