/** `POST /login`: a form with username and password in, a signed access token out. `GET /login`: the form, with cookies on. */
import { Type } from "@sinclair/typebox";
import type { FastifyRequest } from "fastify";
import type { App } from "../src/app.ts";
import type { ErrorAnswer } from "../src/error-answers.ts";
import { errors } from "../src/errors.ts";
import { loginPage } from "../src/pages/login.ts";
import { type Page, seeOther, wantsPage } from "../src/pages/page.ts";
import { languageOf } from "../src/pages/texts.ts";
import { redirectTarget } from "../src/redirects.ts";
import {
	deviceHeader,
	formOrJson,
	htmlPage,
	NoQuery,
	nextField,
	refusals,
	sentOn,
	TokenAnswer,
} from "../src/schemas.ts";

const Login = Type.Object(
	{
		username: Type.String(),
		password: Type.String(),
		delivery: Type.Optional(
			Type.Union([Type.Literal("body"), Type.Literal("cookie")], {
				description:
					"Where the tokens go: into the answer, or into cookies where TOKEN_LOCATIONS has them; cookies where it has nothing else",
			}),
		),
		...nextField,
	},
	{ additionalProperties: false },
);

export default async function login(app: App) {
	const { config, credentials, securityEvents, sessions } = app.services;
	const { redirectHosts } = config;
	const cookies = config.tokenLocations.includes("cookie");
	// Where only cookies count, no guarded route would take a token out of a body.
	const usualDelivery = config.tokenLocations.includes("header") ? "body" : "cookie";

	app.post("/login", {
		config: { access: "public", shed: "first", refusalPage },
		onRequest: (request, _reply, done) => {
			// A page shows again what the form said: there the form is read first.
			if (!cookies || !wantsPage(request.headers)) credentials.assertRoom(request.caller());
			done();
		},
		schema: {
			operationId: "login",
			summary: "Log in with username and password",
			tags: ["login"],
			consumes: formOrJson,
			querystring: NoQuery,
			headers: deviceHeader,
			body: Login,
			response: {
				200: TokenAnswer,
				...sentOn,
				...refusals(
					"INVALID_USERNAME",
					"INVALID_PASSWORD",
					"INVALID_CREDENTIALS",
					"TOO_MANY_ROLES",
					"TOO_MANY_ATTEMPTS",
					"BUSY",
					"STORE_UNAVAILABLE",
					"NO_SIGNING_KEY",
				),
			},
		},
		handler: async (request, reply) => {
			const { username, password, delivery = usualDelivery, next } = request.body;
			if (delivery === "cookie" && !cookies)
				throw new errors.VALIDATION_FAILED("body/delivery: cookies are off (TOKEN_LOCATIONS)");
			const { user, session, deviceToken } = await credentials.login(
				username,
				password,
				request.caller(),
				reply.hungUp(),
			);
			const access = await app.makeAccessToken({ user, session, fresh: true }).catch(async (error: unknown) => {
				// Nobody will ever have a token of it. Why the login fails matters more than whether this works.
				await sessions.end(session.id).catch(() => {});
				throw error;
			});
			securityEvents.record({ event: "login", user: user.id, session: session.id }, request);
			const answer = reply.giveTokens({ access, session, refresh: true, delivery, deviceToken });
			if (delivery !== "cookie" || !wantsPage(request.headers)) return answer;
			return reply.sendPage(seeOther(redirectTarget(next, redirectHosts)));
		},
	});

	if (!cookies) return;
	app.get("/login", {
		config: { access: "public", refusalPage },
		schema: {
			...htmlPage,
			operationId: "showLogin",
			summary: "The form to log in",
			querystring: Type.Object(nextField, { additionalProperties: false }),
		},
		handler: async (request, reply) => {
			const next = redirectTarget(request.query.next, redirectHosts);
			const visitor = await request.findVisitor();
			// Whose access cookie has ended would come back from `next` at once: the start page renews it, and then leads there.
			if (visitor) return reply.sendPage(seeOther(visitor.accessEnded ? `/?${new URLSearchParams({ next })}` : next));
			const language = languageOf(request.headers["accept-language"]);
			return reply.sendPage(loginPage({ language, next, formTargets: redirectHosts }));
		},
	});

	/** The form again, with what went wrong; not where a form was posted that asks for no cookies. */
	function refusalPage(refusal: ErrorAnswer, { body, headers }: FastifyRequest): Page | undefined {
		const { delivery = usualDelivery, next, username } = (body ?? { delivery: "cookie" }) as Record<string, unknown>;
		if (delivery !== "cookie") return undefined;
		return loginPage({
			language: languageOf(headers["accept-language"]),
			next: redirectTarget(typeof next === "string" ? next : undefined, redirectHosts),
			formTargets: redirectHosts,
			refusal,
			username: typeof username === "string" ? username : "",
		});
	}
}
