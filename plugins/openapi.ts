/** The OpenAPI 3.1 page at /docs, made from the route schemas. Its packages load only where it is on. */
import type { TSchema } from "@sinclair/typebox";
import type { FastifySchema } from "fastify";
import fp from "fastify-plugin";
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
					},
				},
			},
			transform: ({ schema, url, route }) => {
				const access = route.config?.access ?? "public";
				if (url.startsWith("/docs")) return { schema: { hide: true }, url };
				return {
					schema: access === "public" ? schema : guarded(schema, access),
					url,
				};
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

/** What every guarded route has in common: the token it asks for, and how it refuses without. */
function guarded(schema: FastifySchema | undefined, access: string): FastifySchema {
	const permissions = access === "authenticated" ? [] : [access];
	const common = refusals(
		"AUTHENTICATION_REQUIRED",
		"INVALID_TOKEN",
		"STORE_UNAVAILABLE",
		...(permissions.length > 0 ? (["INSUFFICIENT_PERMISSIONS"] as const) : []),
	);
	const response: Record<string, TSchema> = { ...common, ...(schema?.response as Record<string, TSchema>) };
	for (const [status, { description }] of Object.entries(common)) {
		const own = response[status];
		if (own?.description && own.description !== description)
			response[status] = { ...own, description: `${description}\n\n${own.description}` };
	}
	return { ...schema, security: [{ accessToken: permissions }], response };
}
