/** `POST /login`: a form with username and password in, a signed access token out. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { errors } from "../src/errors.ts";
import { formOrJson, NoQuery, refusals, TokenAnswer } from "../src/schemas.ts";

const Login = Type.Object(
	{
		username: Type.String(),
		password: Type.String(),
		delivery: Type.Optional(
			Type.Union([Type.Literal("body"), Type.Literal("cookie")], {
				description: "Where the tokens go: into the answer, or into cookies where TOKEN_LOCATIONS has them",
			}),
		),
	},
	{ additionalProperties: false },
);

export default async function login(app: App) {
	const { config, credentials } = app.services;

	app.post("/login", {
		config: { access: "public" },
		schema: {
			summary: "Log in with username and password",
			tags: ["login"],
			consumes: formOrJson,
			querystring: NoQuery,
			body: Login,
			response: {
				200: TokenAnswer,
				...refusals(
					"VALIDATION_FAILED",
					"MALFORMED_REQUEST",
					"INVALID_USERNAME",
					"INVALID_PASSWORD",
					"INVALID_CREDENTIALS",
					"TOO_MANY_ROLES",
					"CROSS_ORIGIN_REFUSED",
					"PAYLOAD_TOO_LARGE",
					"UNSUPPORTED_MEDIA_TYPE",
					"BUSY",
					"STORE_UNAVAILABLE",
				),
			},
		},
		handler: async (request, reply) => {
			const { username, password, delivery = "body" } = request.body;
			if (delivery === "cookie" && !config.tokenLocations.includes("cookie"))
				throw new errors.VALIDATION_FAILED("body/delivery: cookies are off (TOKEN_LOCATIONS)");
			const device = { userAgent: request.headers["user-agent"], address: request.ip };
			const { user, session } = await credentials.login(username, password, device, reply.hungUp());
			request.log.info({ user: user.id, session: session.id, address: request.ip }, "logged in");
			return reply.giveTokens({ user, session, fresh: true, refresh: true, delivery });
		},
	});
}
