/** `POST /password`: change your own password. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { csrfField, deviceHeader, formOrJson, NoQuery, refusals } from "../src/schemas.ts";

const Change = Type.Object(
	{ current_password: Type.String(), new_password: Type.String(), ...csrfField },
	{ additionalProperties: false },
);

export default async function password(app: App) {
	const { credentials, securityEvents } = app.services;

	app.post("/password", {
		config: { access: "authenticated", shed: "first" },
		preHandler: app.authenticate,
		schema: {
			summary: "Change your own password; your other sessions end",
			tags: ["account"],
			consumes: formOrJson,
			querystring: NoQuery,
			headers: deviceHeader,
			body: Change,
			response: {
				204: Type.Null({ description: "Changed" }),
				...refusals("INVALID_PASSWORD", "WEAK_PASSWORD", "INVALID_CURRENT_PASSWORD", "TOO_MANY_ATTEMPTS", "BUSY"),
			},
		},
		handler: async (request, reply) => {
			const { current_password, new_password } = request.body;
			const { id: userId, sessionId } = request.principal;
			await credentials.change({ userId, sessionId }, current_password, new_password, request.caller(), reply.hungUp());
			securityEvents.record({ event: "password_changed", user: userId, session: sessionId }, request);
			return reply.code(204).send(null);
		},
	});
}
