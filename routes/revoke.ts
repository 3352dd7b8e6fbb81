/** `POST /revoke`: token revocation (RFC 7009), of your own tokens. */
import { Type } from "@sinclair/typebox";
import type { FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import { codeOf } from "../src/error-answers.ts";
import { csrfField, NoQuery } from "../src/schemas.ts";

const Revocation = Type.Object(
	{
		token: Type.String({ description: "An access or a refresh token" }),
		token_type_hint: Type.Optional(Type.String({ description: "Not needed: the two kinds look different" })),
		...csrfField,
	},
	{ additionalProperties: false },
);

export default async function revoke(app: App) {
	const { refresh, securityEvents, sessions } = app.services;

	app.post("/revoke", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			operationId: "revokeToken",
			summary: "Revoke one of your tokens (RFC 7009)",
			description:
				"A refresh token takes its session with it, and so does the hundredth access token within the life of one. What is not yours, or nothing any more, is 200 as well.",
			tags: ["sessions"],
			consumes: ["application/x-www-form-urlencoded"],
			querystring: NoQuery,
			body: Revocation,
			response: {
				// Not Type.Null: null would be written as the JSON text "null", and there is nothing to say.
				200: Type.Unsafe<undefined>({ type: "null", description: "Not good any more" }),
			},
		},
		handler: async (request, reply) => {
			const { token } = request.body;
			const sessionId = refresh.sessionIdOf(token);
			if (sessionId === undefined) await revokeAccessToken(request, token);
			else await revokeSession(request, sessionId);
			return reply.code(200).send(undefined);
		},
	});

	async function revokeSession(request: FastifyRequest, sessionId: string): Promise<void> {
		const caller = request.principal.id;
		const found = await sessions.find(sessionId);
		if (found?.session.userId !== caller) return;
		await sessions.end(sessionId);
		securityEvents.record({ event: "token_revoked", user: caller, session: sessionId }, request);
	}

	async function revokeAccessToken(request: FastifyRequest, text: string): Promise<void> {
		try {
			const principal = await app.verifyAccessToken(text);
			if (principal.id !== request.principal.id) return;
			await sessions.revokeToken(principal);
			const { id: user, sessionId: session, tokenId: jti } = principal;
			securityEvents.record({ event: "token_revoked", user, session, jti }, request);
		} catch (error) {
			// A token that is not good, or was revoked before, needs no revoking (RFC 7009 section 2.2): that would take a
			// lock that others wait for, and every replica would hear of it.
			if (codeOf(error) !== "INVALID_TOKEN") throw error;
		}
	}
}
