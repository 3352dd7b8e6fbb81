/** What other services need to verify our tokens: the key set, and where it is. */
import { Type } from "@sinclair/typebox";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import { keySetMaxAgeSeconds } from "../src/keys/life.ts";

/** Public keys as src/keys/key-pair.ts makes them (RFC 7518 section 6, RFC 8037 section 2). */
const common = { kid: Type.String({ description: "RFC 7638" }), use: Type.Literal("sig") };
const Key = Type.Union([
	Type.Object({
		kty: Type.Literal("EC"),
		crv: Type.Literal("P-256"),
		x: Type.String(),
		y: Type.String(),
		...common,
		alg: Type.Literal("ES256"),
	}),
	Type.Object({
		kty: Type.Literal("RSA"),
		n: Type.String(),
		e: Type.String(),
		...common,
		alg: Type.Literal("RS256"),
	}),
	Type.Object({
		kty: Type.Literal("OKP"),
		crv: Type.Literal("Ed25519"),
		x: Type.String(),
		...common,
		alg: Type.Literal("EdDSA"),
	}),
]);
const KeySet = Type.Object({ keys: Type.Array(Key) }, { description: "A JWK Set" });

const Metadata = Type.Object(
	{
		issuer: Type.String(),
		jwks_uri: Type.String(),
		revocation_endpoint: Type.String(),
		revocation_endpoint_auth_methods_supported: Type.Array(Type.String()),
		introspection_endpoint: Type.String(),
		introspection_endpoint_auth_methods_supported: Type.Optional(Type.Array(Type.String())),
		response_types_supported: Type.Array(Type.String()),
		grant_types_supported: Type.Array(Type.String()),
		service_documentation: Type.Optional(Type.String()),
	},
	{ additionalProperties: false, description: "The metadata" },
);

export default async function wellKnown(app: App) {
	const { config, keys } = app.services;

	app.get("/.well-known/jwks.json", {
		config: { access: "public", shed: "never" },
		schema: {
			operationId: "getKeySet",
			summary: "The public keys (RFC 7517)",
			tags: ["discovery"],
			produces: ["application/jwk-set+json"],
			response: {
				200: Type.Unsafe<string>(KeySet),
				304: Type.Null({ description: "Not changed" }),
			},
		},
		// Text, so that it is sent as it was hashed for the ETag; and a start makes nothing that would write the schema above.
		serializerCompiler: () => String,
		handler: async (request, reply) => {
			const { body, etag } = keys.keySet();
			reply.header("cache-control", `public, max-age=${keySetMaxAgeSeconds}`).header("etag", etag);
			if (matches(request.headers["if-none-match"], etag)) return reply.code(304).send(null);
			return reply.type("application/jwk-set+json; charset=utf-8").send(body);
		},
	});

	const metadata = {
		issuer: config.issuer,
		jwks_uri: `${config.issuer}/.well-known/jwks.json`,
		revocation_endpoint: `${config.issuer}/revoke`,
		// No client has a secret: the access token says who asks, and this list has no name for that. Where it is missing,
		// secrets by Basic are meant.
		revocation_endpoint_auth_methods_supported: ["none"],
		introspection_endpoint: `${config.issuer}/introspect`,
		// This list may name kinds of access tokens as well; there is none for a cookie.
		...(config.tokenLocations.includes("header") ? { introspection_endpoint_auth_methods_supported: ["Bearer"] } : {}),
		// This is a login service: it has no authorization endpoint, and no grant has its steps. Section 3.2 would leave empty
		// lists out; but the first is required, and without the second a reader has to assume two grants.
		response_types_supported: [],
		grant_types_supported: [],
		...(config.docs ? { service_documentation: `${config.issuer}/docs` } : {}),
	};
	const schema = {
		operationId: "getMetadata",
		summary: "Authorization server metadata (RFC 8414)",
		tags: ["discovery"],
		response: { 200: Metadata },
	};
	const answer = {
		config: { access: "public", shed: "never" },
		handler: async (_request: FastifyRequest, reply: FastifyReply) => {
			reply.header("cache-control", `public, max-age=${keySetMaxAgeSeconds}`);
			return metadata;
		},
	} as const;
	const path = "/.well-known/oauth-authorization-server";
	app.get(path, { ...answer, schema });
	// Where the issuer has a path, readers look for its metadata between host and path (section 3.1). The same once more,
	// and at the root of the host: so it is not in the document of what lies under the issuer.
	const { pathname } = new URL(config.issuer);
	if (pathname !== "/") app.get(`${path}${pathname}`, { ...answer, schema: { ...schema, hide: true } });
}

/** If-None-Match (RFC 9110 section 13.1.2): a list of tags or `*`, compared weakly. */
function matches(header: string | undefined, etag: string): boolean {
	return (header ?? "").split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}
