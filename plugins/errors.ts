/** Every refusal and every fault leaves through here: one shape for the client, the reason for the log. */
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { describe, type ErrorAnswer } from "../src/error-answers.ts";
import { errors } from "../src/errors.ts";
import { type Page, wantsPage } from "../src/pages/page.ts";
import { refusalOf } from "../src/security-events/events.ts";

declare module "fastify" {
	interface FastifyContextConfig {
		/** What a browser gets in place of the JSON, where cookies are on; `undefined` leaves the JSON. */
		refusalPage?: (refusal: ErrorAnswer, request: FastifyRequest) => Page | undefined;
	}
}

export default fp(
	async (app) => {
		const { config, tracing } = app.services;
		const pages = config.tokenLocations.includes("cookie");
		/** Methods by path, for routes without parameters: what a 405 needs to know. */
		const methods = new Map<string, Set<string>>();
		app.addHook("onRoute", ({ url, method }) => {
			const known = methods.get(url) ?? new Set();
			for (const one of [method].flat()) known.add(one);
			methods.set(url, known);
		});

		app.setErrorHandler((error, request, reply) => {
			const { body, headers } = describe(error);
			tracing?.refused(body.code);
			if (reply.raw.destroyed && error instanceof Error && error.name === "AbortError")
				request.log.info({ route: request.routeOptions.url }, "the client went away");
			else note(request, body.statusCode, body.code, error);
			reply.code(body.statusCode).headers(headers);
			const { refusalPage } = request.routeOptions.config ?? {};
			const page = pages && wantsPage(request.headers) ? refusalPage?.(body, request) : undefined;
			return page ? reply.sendPage(page) : reply.send(body);
		});

		app.setNotFoundHandler((request, reply) => {
			const allowed = methods.get(request.url.split("?", 1)[0] ?? "");
			if (!allowed) throw new errors.NOT_FOUND();
			reply.header("allow", [...allowed].sort().join(", "));
			throw new errors.METHOD_NOT_ALLOWED();
		});
	},
	{ name: "errors", dependencies: ["services", "front", "pages"] },
);

/**
 * One line a refusal (ASVS 16.3.2); where it is a security event, the event's. Never the query, the body or a header, and of the path only the route's own
 * pattern: all of them may hold what a person typed into the wrong field.
 */
function note(request: FastifyRequest, statusCode: number, code: string, error: unknown): void {
	const facts = {
		code,
		method: request.method,
		route: request.routeOptions.url,
		address: request.ip,
	};
	// Thousands in a second: src/pressure.ts logs that it begins, and how many there were when it is over.
	if (code === "OVERLOADED") return;
	const refusal = refusalOf(error);
	if (refusal) {
		const { code, method, route } = facts;
		request.server.services.securityEvents.record(refusal, request, { code, method, route });
		return;
	}
	const { cause } = error as Error;
	const reason = cause instanceof Error ? cause.message : undefined;
	if (statusCode === 500) request.log.error({ ...facts, err: error }, "request failed");
	else if (statusCode > 500) request.log.error({ ...facts, reason }, "request could not be served");
	else if (statusCode === 401 || statusCode === 403) request.log.warn({ ...facts, reason }, "request refused");
	else request.log.info({ ...facts, reason }, "request refused");
}
