/** `POST /reauthenticate`: the password again, for a fresh access token of the same session. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { errors } from "../src/errors.ts";
import { csrfField, deviceHeader, formOrJson, NoQuery, refusals, TokenAnswer } from "../src/schemas.ts";

export default async function reauthenticate(app: App) {
	const { credentials, securityEvents, sessions, users } = app.services;

	app.post("/reauthenticate", {
		config: { access: "authenticated", shed: "first" },
		preHandler: app.authenticate,
		schema: {
			operationId: "reauthenticate",
			summary: "Give the password again and get a fresh access token",
			tags: ["login"],
			consumes: formOrJson,
			querystring: NoQuery,
			headers: deviceHeader,
			body: Type.Object({ password: Type.String(), ...csrfField }, { additionalProperties: false }),
			response: {
				200: TokenAnswer,
				...refusals(
					"INVALID_PASSWORD",
					"INVALID_CURRENT_PASSWORD",
					"TOO_MANY_ROLES",
					"TOO_MANY_ATTEMPTS",
					"BUSY",
					"NO_SIGNING_KEY",
				),
			},
		},
		handler: async (request, reply) => {
			const { id, sessionId } = request.principal;
			await credentials.confirm({ userId: id, sessionId }, request.body.password, request.caller(), reply.hungUp());
			const session = await sessions.reauthenticate(sessionId);
			const user = await users.find(id);
			if (!session || !user || user.disabled)
				throw new errors.INVALID_TOKEN({ cause: new Error("its session or its account has ended meanwhile") });
			const access = await app.makeAccessToken({ user, session, fresh: true });
			securityEvents.record({ event: "reauthentication", user: id, session: sessionId }, request);
			return reply.giveTokens({ access, session, refresh: false });
		},
	});
}
