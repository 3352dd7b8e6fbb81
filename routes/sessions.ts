/** `GET /sessions` and `DELETE /sessions/:id`: where you are logged in, and ending one of them. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { refusals } from "../src/schemas.ts";

const SessionAnswer = Type.Object(
	{
		id: Type.String(),
		current: Type.Boolean({ description: "Whether this request came from it" }),
		device: Type.Union([Type.String(), Type.Null()], { description: "What the client said of itself at the login" }),
		address: Type.String({ description: "From where it was begun" }),
		created_at: Type.Integer({ description: "Epoch seconds" }),
		last_used_at: Type.Integer({ description: "Epoch seconds of the last refresh" }),
		expires_at: Type.Integer({ description: "Epoch seconds; a refresh moves it" }),
	},
	{ additionalProperties: false },
);

export default async function sessionsRoute(app: App) {
	const { sessions } = app.services;

	app.get("/sessions", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			summary: "Where you are logged in",
			tags: ["sessions"],
			response: { 200: Type.Object({ sessions: Type.Array(SessionAnswer) }, { additionalProperties: false }) },
		},
		handler: async ({ principal }) => {
			const own = await sessions.list(principal.id);
			return {
				sessions: own.map((session) => ({
					id: session.id,
					current: session.id === principal.sessionId,
					device: session.userAgent,
					address: session.address,
					created_at: session.createdAt,
					last_used_at: session.refreshedAt,
					expires_at: session.expiresAt,
				})),
			};
		},
	});

	app.delete("/sessions/:id", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			summary: "End one of your sessions",
			tags: ["sessions"],
			params: Type.Object({ id: Type.String() }, { additionalProperties: false }),
			response: {
				204: Type.Null({ description: "Ended" }),
				...refusals("CROSS_ORIGIN_REFUSED", "CSRF_TOKEN_REQUIRED", "CSRF_TOKEN_MISMATCH", "SESSION_NOT_FOUND"),
			},
		},
		handler: async (request, reply) => {
			await sessions.endOwn(request.principal.id, request.params.id);
			request.log.info({ user: request.principal.id, session: request.params.id }, "ended a session");
			return reply.code(204).send(null);
		},
	});
}
