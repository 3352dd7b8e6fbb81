/** `GET /`: the start page of somebody who is logged in by cookies. There is none where cookies are off. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { homePage } from "../src/pages/home.ts";
import { seeOther } from "../src/pages/page.ts";
import { actionRefusal } from "../src/pages/refusals.ts";
import { languageOf } from "../src/pages/texts.ts";
import { redirectTarget } from "../src/redirects.ts";
import { htmlPage, nextField } from "../src/schemas.ts";

export default async function home(app: App) {
	const { config, clock, csrf, sessions } = app.services;
	if (!config.tokenLocations.includes("cookie")) return;

	app.get("/", {
		config: { access: "public", refusalPage: actionRefusal },
		schema: {
			...htmlPage,
			operationId: "showHome",
			summary: "Who is logged in, and where",
			querystring: Type.Object(nextField, { additionalProperties: false }),
		},
		handler: async (request, reply) => {
			const visitor = await request.findVisitor();
			if (!visitor) return reply.sendPage(seeOther("/login"));
			const { user, session, accessEnded } = visitor;
			return reply.sendPage(
				homePage({
					language: languageOf(request.headers["accept-language"]),
					username: user.username,
					sessions: await sessions.list(user.id),
					currentId: session.id,
					csrfToken: csrf.valueFor(session.id),
					accessEnded,
					next: redirectTarget(request.query.next, config.redirectHosts),
					formTargets: config.redirectHosts,
					now: clock.now(),
				}),
			);
		},
	});
}
