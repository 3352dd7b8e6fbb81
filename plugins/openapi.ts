/** The OpenAPI 3.1 page at /docs, made from the route schemas. Its packages load only where it is on. */
import { type TObject, type TSchema, Type } from "@sinclair/typebox";
import type { FastifySchema, RouteOptions } from "fastify";
import fp from "fastify-plugin";
import { needsOf, type TokenLocation } from "../src/access.ts";
import { cookieNames } from "../src/cookies.ts";
import type { ErrorCode } from "../src/errors.ts";
import { safeMethods } from "../src/same-origin.ts";
import { codesOf, isOptionalBody, refusals, shownTokenAnswer, TokenAnswer } from "../src/schemas.ts";
import { version } from "../src/version.ts";

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

/** What is looked at of the finished document: the operations of each path. */
interface Document {
	paths: Record<string, Record<string, { requestBody?: RequestBody }>>;
}

interface RequestBody {
	required: boolean;
	content: Record<string, { schema: TSchema }>;
}

const cookieDescription =
	"From POST /login with delivery=cookie. What changes something needs X-CSRF-Token or csrf_token as well";

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
					version,
					description:
						"A form is posted to /login, a signed JWT comes back, and any service can verify it.\n\n" +
						"Besides what stands at a route, each of them refuses what cannot be read (400 MALFORMED_REQUEST) or has a " +
						"body that it does not take (415 UNSUPPORTED_MEDIA_TYPE).",
				},
				servers: [{ url: "/" }],
				tags: [
					{ name: "login", description: "Getting tokens" },
					{ name: "account", description: "Whoever is logged in" },
					{ name: "sessions", description: "Seeing and ending sessions and tokens" },
					{ name: "pages", description: "For people with a browser" },
					{ name: "discovery", description: "What other services need to verify tokens" },
					{ name: "health", description: "Probes" },
				],
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
						accessCookie: {
							type: "apiKey",
							in: "cookie",
							name: cookieNames.access,
							description: cookieDescription,
						},
						refreshCookie: {
							type: "apiKey",
							in: "cookie",
							name: cookieNames.refresh,
							description: cookieDescription,
						},
					},
				},
			},
			transform: ({ schema, url, route }) => {
				if (url.startsWith("/docs")) return { schema: { hide: true }, url };
				return { schema: completed(schema ?? {}, route, config.tokenLocations), url };
			},
			// @fastify/swagger calls every body required.
			transformObject: (document) => {
				const { openapiObject } = document as unknown as { openapiObject: Document };
				for (const { requestBody } of Object.values(openapiObject.paths).flatMap((path) => Object.values(path)))
					if (requestBody && Object.values(requestBody.content).some(({ schema }) => isOptionalBody(schema)))
						requestBody.required = false;
				return openapiObject;
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

/** A route's schema with what follows from its method, its body and its guards: a name, refusals, and the tokens it takes. */
function completed(
	schema: FastifySchema,
	{ method, url, preHandler, config }: Pick<RouteOptions, "method" | "url" | "preHandler" | "config">,
	usual: readonly TokenLocation[],
): FastifySchema {
	const guards = needsOf(preHandler);
	const isOptional = guards.every(({ optional }) => optional);
	const permissions = guards.flatMap((needs) => needs.permissions ?? []);
	const { kind = "access", locations = usual } = guards.at(-1) ?? {};
	const isUnsafe = [method].flat().some((one) => !safeMethods.has(one));
	const isGuarded = guards.length > 0;
	const hasBody = schema.body !== undefined;
	// A page is shown instead, as for every refusal of a route for people.
	const isShed = config?.shed !== "never" && !schema.produces?.includes("text/html");
	const cases: [ErrorCode, boolean][] = [
		["VALIDATION_FAILED", hasBody],
		["MALFORMED_REQUEST", hasBody],
		["TWO_CREDENTIALS", isGuarded && locations.includes("header") && locations.includes("form")],
		["AUTHENTICATION_REQUIRED", !isOptional],
		["INVALID_TOKEN", isGuarded],
		["FRESH_TOKEN_REQUIRED", guards.some(({ fresh, maxAge }) => fresh || maxAge !== undefined)],
		["INSUFFICIENT_PERMISSIONS", permissions.length > 0],
		["CROSS_ORIGIN_REFUSED", isUnsafe],
		["CSRF_TOKEN_REQUIRED", isUnsafe && isGuarded && locations.includes("cookie")],
		["CSRF_TOKEN_MISMATCH", isUnsafe && isGuarded && locations.includes("cookie")],
		["PAYLOAD_TOO_LARGE", hasBody],
		["UNSUPPORTED_MEDIA_TYPE", hasBody],
		["STORE_UNAVAILABLE", isGuarded],
		["OVERLOADED", isShed],
		// Before there is a route, src/http-server.ts answers for it.
		["STARTING", isGuarded || isShed],
	];
	const response = { ...(schema.response as Record<string, TSchema>) };
	const common = cases.flatMap(([code, holds]) => (holds ? code : []));
	for (const [status, refusal] of Object.entries(refusals(...common, ...Object.values(response).flatMap(codesOf)))) {
		const own = response[status];
		// A report of the route's own keeps its shape, and says what else comes under its status.
		const report = own && codesOf(own).length === 0 ? own : undefined;
		const description = [refusal.description, report?.description].filter(Boolean).join("\n\n");
		response[status] = { ...(report ?? refusal), description };
	}
	if (response[200] === TokenAnswer) response[200] = shownTokenAnswer(usual.includes("cookie"));
	const operationId = schema.operationId ?? nameOf([method].flat().join(), url);
	if (!isGuarded) return { ...schema, operationId, response };
	const schemes = [
		...(kind === "refresh" ? [] : tokenIn("access", locations)),
		...(kind === "access" ? [] : tokenIn("refresh", locations)),
	];
	const security: Record<string, readonly string[]>[] = schemes.map((scheme) => ({ [scheme]: permissions }));
	// None besides where the token may be a field of the form: both at once would be refused.
	if (isOptional) security.unshift({});
	else if (locations.includes("form")) security.push({});
	const own = schema.headers as TObject | undefined;
	const needsCsrf = isUnsafe && locations.includes("cookie");
	const headers = needsCsrf ? { headers: Type.Object({ ...own?.properties, ...csrfHeader }) } : {};
	return { ...schema, ...headers, operationId, security, response };
}

/** What a program sends beside a cookie; a form has a field for it. */
const csrfHeader = {
	"x-csrf-token": Type.Optional(
		Type.String({
			description: "Beside a cookie: the session's value, from __Host-csrf or the field csrf_token of an answer",
		}),
	),
};

/** A name for the operation of a route that gives itself none: `getTeam` for `GET /team`. */
const nameOf = (method: string, url: string): string =>
	`${method.toLowerCase()}${url}`.replace(/[^a-zA-Z0-9]+(.?)/g, (_, letter: string) => letter.toUpperCase());

/** The schemes under which a token of this kind comes; OpenAPI knows none for a form's field. */
function tokenIn(kind: "access" | "refresh", locations: readonly TokenLocation[]): string[] {
	return [
		...(locations.includes("header") ? [`${kind}Token`] : []),
		...(locations.includes("cookie") ? [`${kind}Cookie`] : []),
	];
}
