/** Traces: a span for each request but the probes'. Where OTEL_EXPORTER_OTLP_ENDPOINT is not set this adds nothing. */
import fp from "fastify-plugin";
import { createTrust } from "../src/trusted-proxies.ts";

/** Asked every few seconds, by something that has no trace. */
const probes = new Set(["/livez", "/startupz", "/readyz"]);

export default fp(
	async (app) => {
		const { config, tracing } = app.services;
		if (tracing === undefined) return;
		const isProxy = createTrust(config.trustProxy);
		// The first hook of all (plugins/front.ts depends on this one): what is refused at once has a span as well.
		app.addHook("onRequest", (request, reply, done) => {
			const route = request.routeOptions.url;
			if (route !== undefined && probes.has(route)) return done();
			const { traceparent } = request.headers;
			// Only a proxy's: whoever else could give its requests the trace of somebody else's, or have them all kept.
			const isGiven = typeof traceparent === "string" && isProxy(request.raw.socket.remoteAddress);
			const span = tracing.startRequest(request.method, route, isGiven ? traceparent : undefined);
			// Not onResponse: that one does not come where the client leaves before the answer.
			reply.raw.once("close", () => span.end(reply.raw.writableFinished ? reply.raw.statusCode : undefined));
			span.run(done);
		});
	},
	{ name: "observe", dependencies: ["services"] },
);
