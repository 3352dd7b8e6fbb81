/** `POST /logout` and `POST /logout/all`: end this session, or every one of the account. */
import { Type } from "@sinclair/typebox";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import { seeOther, wantsPage } from "../src/pages/page.ts";
import { actionRefusal } from "../src/pages/refusals.ts";
import { csrfField, formOrJson, NoQuery, optionalBody, sentOn } from "../src/schemas.ts";

const fields = {
	access_token: Type.Optional(Type.String()),
	refresh_token: Type.Optional(Type.String()),
	...csrfField,
};

export default async function logout(app: App) {
	const { config, securityEvents, sessions, users } = app.services;
	const anyToken = app.requires({ kind: "either", locations: ["form", ...config.tokenLocations] });
	const schema = {
		tags: ["sessions"],
		consumes: formOrJson,
		querystring: NoQuery,
		body: optionalBody(fields),
		response: {
			204: Type.Null({ description: "Ended" }),
			...sentOn,
		},
	};
	const answer = (
		request: FastifyRequest,
		reply: FastifyReply,
		event: "logout" | "logout_everywhere",
	): FastifyReply => {
		const { principal, tokenLocation, headers } = request;
		securityEvents.record({ event, user: principal.id, session: principal.sessionId }, request);
		if (tokenLocation === "cookie") {
			reply.clearTokenCookies({ device: event === "logout_everywhere" });
			if (wantsPage(headers)) return reply.sendPage(seeOther("/login"));
		}
		return reply.code(204).send(null);
	};

	app.post("/logout", {
		config: { access: "authenticated", refusalPage: actionRefusal },
		preHandler: anyToken,
		schema: { ...schema, operationId: "logout", summary: "End this session, with its access or its refresh token" },
		handler: async (request, reply) => {
			await sessions.end(request.principal.sessionId, request.principal);
			return answer(request, reply, "logout");
		},
	});

	app.post("/logout/all", {
		config: { access: "authenticated", refusalPage: actionRefusal },
		preHandler: anyToken,
		schema: { ...schema, operationId: "logoutEverywhere", summary: "End every session of your account" },
		handler: async (request, reply) => {
			await users.logoutEverywhere(request.principal.id, request.principal);
			return answer(request, reply, "logout_everywhere");
		},
	});
}
