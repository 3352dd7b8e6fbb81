/** What other services need to verify our tokens: the key set, and where it is. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { keySetMaxAgeSeconds } from "../src/keys/life.ts";

const Metadata = Type.Object(
	{
		issuer: Type.String(),
		jwks_uri: Type.String(),
		response_types_supported: Type.Array(Type.String()),
		service_documentation: Type.Optional(Type.String()),
	},
	{ additionalProperties: false, description: "The metadata" },
);

export default async function wellKnown(app: App) {
	const { config, keys } = app.services;

	app.get("/.well-known/jwks.json", {
		config: { access: "public", shed: "never" },
		schema: {
			summary: "The public keys (RFC 7517)",
			tags: ["discovery"],
			produces: ["application/jwk-set+json"],
			response: {
				200: Type.Any({ description: "A JWK Set" }),
				304: Type.Null({ description: "Not changed" }),
			},
		},
		handler: async (request, reply) => {
			const { body, etag } = keys.keySet();
			reply.header("cache-control", `public, max-age=${keySetMaxAgeSeconds}`).header("etag", etag);
			if (matches(request.headers["if-none-match"], etag)) return reply.code(304).send(null);
			// Text, so that it is sent as it was hashed for the ETag.
			return reply.type("application/jwk-set+json; charset=utf-8").serializer(String).send(body);
		},
	});

	app.get("/.well-known/oauth-authorization-server", {
		config: { access: "public", shed: "never" },
		schema: {
			summary: "Authorization server metadata (RFC 8414)",
			tags: ["discovery"],
			response: { 200: Metadata },
		},
		handler: async (_request, reply) => {
			reply.header("cache-control", `public, max-age=${keySetMaxAgeSeconds}`);
			return {
				issuer: config.issuer,
				jwks_uri: `${config.issuer}/.well-known/jwks.json`,
				// Required, and empty: this is a login service, which has no authorization endpoint.
				response_types_supported: [],
				...(config.docs ? { service_documentation: `${config.issuer}/docs` } : {}),
			};
		},
	});
}

/** If-None-Match (RFC 9110 section 13.1.2): a list of tags or `*`, compared weakly. */
function matches(header: string | undefined, etag: string): boolean {
	return (header ?? "").split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}
