/** `POST /refresh`: a refresh token in, a new pair out. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { errors } from "../src/errors.ts";
import { seeOther, wantsPage } from "../src/pages/page.ts";
import { actionRefusal } from "../src/pages/refusals.ts";
import { redirectTarget } from "../src/redirects.ts";
import {
	csrfField,
	formOrJson,
	NoQuery,
	nextField,
	optionalBody,
	refusals,
	sentOn,
	TokenAnswer,
} from "../src/schemas.ts";

export default async function refreshRoute(app: App) {
	const { config, refresh, securityEvents } = app.services;

	app.post("/refresh", {
		config: { access: "authenticated", shed: "first", refusalPage: actionRefusal },
		preHandler: app.requires({ kind: "refresh", locations: ["form", ...config.tokenLocations] }),
		schema: {
			operationId: "refresh",
			summary: "Get a new access token and the next refresh token",
			tags: ["login"],
			consumes: formOrJson,
			querystring: NoQuery,
			body: optionalBody({ refresh_token: Type.Optional(Type.String()), ...csrfField, ...nextField }),
			response: {
				200: TokenAnswer,
				...sentOn,
				...refusals("TOO_MANY_ROLES", "NO_SIGNING_KEY"),
			},
		},
		handler: async (request, reply) => {
			// The guard above lets nothing else through.
			if (request.presentedRefresh === undefined) throw new errors.INVALID_TOKEN();
			const { session, made: access } = await refresh.renew(request.presentedRefresh, async (token) => {
				const made = await app.makeAccessToken({ ...token, fresh: false });
				// A refresh token has no claims: a check that decides by them has to see those that are about to be given.
				await app.checkNewToken(made.claims, request);
				return made;
			});
			securityEvents.record({ event: "refresh", user: session.userId, session: session.id }, request);
			const answer = reply.giveTokens({ access, session, refresh: true });
			const byPage = request.tokenLocation === "cookie" && wantsPage(request.headers);
			return byPage ? reply.sendPage(seeOther(redirectTarget(request.body?.next, config.redirectHosts))) : answer;
		},
	});
}
