/** The OpenAPI 3.1 page at /docs, made from the route schemas. Its packages load only where it is on. */
import type { TSchema } from "@sinclair/typebox";
import type { FastifySchema } from "fastify";
import fp from "fastify-plugin";
import { type Needs, needsOf, type TokenLocation } from "../src/access.ts";
import { cookieNames } from "../src/cookies.ts";
import { refusals } from "../src/schemas.ts";

/** What the page may load: its own files. Its viewer sets styles from script. */
const pagePolicy = {
	"default-src": ["'none'"],
	"script-src": ["'self'"],
	"style-src": ["'self'", "'unsafe-inline'"],
	"img-src": ["'self'", "data:"],
	"connect-src": ["'self'"],
	"base-uri": ["'none'"],
	"form-action": ["'none'"],
	"frame-ancestors": ["'none'"],
};

export default fp(
	async (app) => {
		const { config } = app.services;
		if (!config.docs) return;
		const { default: swagger } = await import("@fastify/swagger");
		const { default: swaggerUi } = await import("@fastify/swagger-ui");

		await app.register(swagger, {
			openapi: {
				openapi: "3.1.0",
				info: {
					title: "Gatehouse",
					version: "0.1.0",
					description: "A form is posted to /login, a signed JWT comes back, and any service can verify it.",
				},
				servers: [{ url: "/" }],
				components: {
					securitySchemes: {
						accessToken: {
							type: "http",
							scheme: "bearer",
							bearerFormat: "JWT",
							description: "RFC 9068, from POST /login",
						},
						refreshToken: {
							type: "http",
							scheme: "bearer",
							description: "Opaque, from POST /login; here also as the form field refresh_token",
						},
						accessCookie: { type: "apiKey", in: "cookie", name: cookieNames.access },
						refreshCookie: { type: "apiKey", in: "cookie", name: cookieNames.refresh },
					},
				},
			},
			transform: ({ schema, url, route }) => {
				if (url.startsWith("/docs")) return { schema: { hide: true }, url };
				const guards = needsOf(route.preHandler);
				return { schema: guards.length === 0 ? schema : guarded(schema, guards, config.tokenLocations), url };
			},
		});
		await app.register(async (scope) => {
			scope.addHook("onRoute", (route) => {
				route.config = { ...route.config, access: "public" };
			});
			await scope.register(swaggerUi, {
				routePrefix: "/docs",
				staticCSP: pagePolicy,
			});
		});
	},
	{ name: "openapi", dependencies: ["services", "access"] },
);

/** What every guarded route has in common: the tokens it takes, and how it refuses. */
function guarded(
	schema: FastifySchema | undefined,
	guards: readonly Needs[],
	fallback: readonly TokenLocation[],
): FastifySchema {
	const permissions = guards.flatMap((needs) => needs.permissions ?? []);
	const isOptional = guards.every(({ optional }) => optional);
	const common = refusals(
		...(isOptional ? [] : (["AUTHENTICATION_REQUIRED"] as const)),
		"INVALID_TOKEN",
		...(guards.some(({ fresh, maxAge }) => fresh || maxAge !== undefined) ? (["FRESH_TOKEN_REQUIRED"] as const) : []),
		"STORE_UNAVAILABLE",
		...(permissions.length > 0 ? (["INSUFFICIENT_PERMISSIONS"] as const) : []),
	);
	const response: Record<string, TSchema> = { ...common, ...(schema?.response as Record<string, TSchema>) };
	for (const [status, { description }] of Object.entries(common)) {
		const own = response[status];
		if (own?.description && own.description !== description)
			response[status] = { ...own, description: `${description}\n\n${own.description}` };
	}
	const { kind = "access", locations = fallback } = guards.at(-1) ?? {};
	const schemes = [
		...(kind === "refresh" ? [] : tokenIn("access", locations)),
		...(kind === "access" ? [] : tokenIn("refresh", locations)),
	];
	const security = schemes.map((scheme) => ({ [scheme]: permissions }));
	return { ...schema, security: isOptional ? [{}, ...security] : security, response };
}

/** The schemes under which a token of this kind comes; OpenAPI knows none for a form's field. */
function tokenIn(kind: "access" | "refresh", locations: readonly TokenLocation[]): string[] {
	return [
		...(locations.includes("header") ? [`${kind}Token`] : []),
		...(locations.includes("cookie") ? [`${kind}Cookie`] : []),
	];
}
