/** `GET /sessions` and `DELETE /sessions/:id`: where you are logged in, and ending one of them. */
import { Type } from "@sinclair/typebox";
import type { FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import { seeOther, wantsPage } from "../src/pages/page.ts";
import { actionRefusal } from "../src/pages/refusals.ts";
import { csrfField, formOrJson, optionalBody, refusals, sentOn } from "../src/schemas.ts";
import { shownSession } from "../src/sessions/session.ts";

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
	const { config, securityEvents, sessions } = app.services;

	app.get("/sessions", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			operationId: "listSessions",
			summary: "Where you are logged in",
			tags: ["sessions"],
			response: {
				200: Type.Object(
					{ sessions: Type.Array(SessionAnswer) },
					{ additionalProperties: false, description: "Your sessions, the last used first" },
				),
			},
		},
		handler: async ({ principal }) => {
			const own = await sessions.list(principal.id);
			return {
				sessions: own.map((session) => ({
					...shownSession(session),
					current: session.id === principal.sessionId,
				})),
			};
		},
	});

	/** `DELETE` for programs; a form cannot say that, so it posts. */
	const end = {
		config: { access: "authenticated", refusalPage: actionRefusal },
		preHandler: app.authenticate,
		schema: {
			tags: ["sessions"],
			params: Type.Object(
				{ id: Type.String({ description: "As `GET /sessions` shows it" }) },
				{ additionalProperties: false },
			),
			response: {
				204: Type.Null({ description: "Ended" }),
				...refusals("SESSION_NOT_FOUND"),
			},
		},
	};
	const endOwn = async (request: FastifyRequest, id: string): Promise<void> => {
		await sessions.endOwn(request.principal.id, id);
		securityEvents.record({ event: "session_ended", user: request.principal.id, session: id }, request);
	};

	app.delete("/sessions/:id", {
		...end,
		schema: { ...end.schema, operationId: "endSession", summary: "End one of your sessions" },
		handler: async (request, reply) => {
			await endOwn(request, request.params.id);
			return reply.code(204).send(null);
		},
	});

	if (!config.tokenLocations.includes("cookie")) return;
	app.post("/sessions/:id/end", {
		...end,
		schema: {
			...end.schema,
			operationId: "endSessionByForm",
			summary: "End one of your sessions, by a form",
			response: { ...end.schema.response, ...sentOn },
			consumes: formOrJson,
			body: optionalBody(csrfField),
		},
		handler: async (request, reply) => {
			await endOwn(request, request.params.id);
			return wantsPage(request.headers) ? reply.sendPage(seeOther("/")) : reply.code(204).send(null);
		},
	});
}
