/** `POST /introspect`: what a token says and whether it is still good (RFC 7662), for services that ask instead of verifying. */
import { type Static, Type } from "@sinclair/typebox";
import type { FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import { codeOf } from "../src/error-answers.ts";
import { catalogue } from "../src/errors.ts";
import type { Principal } from "../src/principal.ts";
import { csrfField, NoQuery } from "../src/schemas.ts";

const Question = Type.Object(
	{ token: Type.String(), token_type_hint: Type.Optional(Type.String()), ...csrfField },
	{ additionalProperties: false },
);

/** RFC 7662 section 2.2; of an inactive token nothing is told. */
const Introspection = Type.Object(
	{
		active: Type.Boolean(),
		type: Type.Optional(Type.Union([Type.Literal("access"), Type.Literal("refresh")])),
		iss: Type.Optional(Type.String()),
		sub: Type.Optional(Type.String()),
		aud: Type.Optional(Type.Array(Type.String())),
		username: Type.Optional(Type.String()),
		client_id: Type.Optional(Type.String()),
		exp: Type.Optional(Type.Integer()),
		iat: Type.Optional(Type.Integer()),
		auth_time: Type.Optional(Type.Integer()),
		jti: Type.Optional(Type.String()),
		sid: Type.Optional(Type.String()),
		roles: Type.Optional(Type.Array(Type.String())),
		permissions: Type.Optional(Type.Array(Type.String())),
	},
	{ additionalProperties: false, description: "What the token says; of one that is not good, only that" },
);

export default async function introspect(app: App) {
	const { config, refresh, tokens, users } = app.services;

	app.post("/introspect", {
		config: { access: "tokens:introspect", shed: "never" },
		preHandler: app.requires({ permissions: ["tokens:introspect"] }),
		schema: {
			operationId: "introspectToken",
			summary: "Ask whether a token is good (RFC 7662)",
			tags: ["sessions"],
			consumes: ["application/x-www-form-urlencoded"],
			querystring: NoQuery,
			body: Question,
			response: {
				200: Introspection,
			},
		},
		handler: async (request): Promise<Static<typeof Introspection>> => {
			const principal = await find(request.body.token, request);
			const user = principal && (await users.find(principal.id));
			if (!principal || !user || user.disabled) return { active: false };
			const { kind, id, clientId, tokenId, sessionId, issuedAt, expiresAt, authenticatedAt } = principal;
			const common = { active: true, type: kind, iss: config.issuer, sub: id, username: user.username };
			const times = { exp: expiresAt, iat: issuedAt, auth_time: authenticatedAt };
			if (kind === "refresh") return { ...common, ...times, client_id: clientId, sid: sessionId };
			const { roles, permissions } = principal;
			return {
				...common,
				...times,
				aud: [...config.audience],
				client_id: clientId,
				jti: tokenId,
				sid: sessionId,
				roles: [...roles],
				permissions: [...permissions],
			};
		},
	});

	/** Who a token stands for, where it would be accepted now. Asking changes nothing: a used refresh token ends nothing. */
	async function find(token: string, request: FastifyRequest): Promise<Principal | undefined> {
		try {
			const session = await refresh.look(token);
			const principal = session
				? tokens.assertLive(tokens.refreshPrincipal(session))
				: await app.verifyAccessToken(token);
			await app.checkToken(principal, request);
			return principal;
		} catch (error) {
			// Whatever refuses this token, also a check of app.addTokenCheck with a code of its own, is no refusal of who asks.
			if (catalogue[codeOf(error)].statusCode >= 500) throw error;
			return undefined;
		}
	}
}
