/** `POST /login`: a form with username and password in, a signed access token out. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { formOrJson, NoQuery, refusals } from "../src/schemas.ts";

const Login = Type.Object({ username: Type.String(), password: Type.String() }, { additionalProperties: false });

/** RFC 6749 section 5.1. */
const TokenAnswer = Type.Object(
	{
		access_token: Type.String(),
		token_type: Type.Literal("Bearer"),
		expires_in: Type.Integer({ description: "Seconds" }),
	},
	{ additionalProperties: false },
);

export default async function login(app: App) {
	const { config, credentials, tokens } = app.services;

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
					"CROSS_ORIGIN_REFUSED",
					"PAYLOAD_TOO_LARGE",
					"UNSUPPORTED_MEDIA_TYPE",
					"BUSY",
					"STORE_UNAVAILABLE",
				),
			},
		},
		handler: async (request, reply) => {
			const { username, password } = request.body;
			const user = await credentials.check(username, password, reply.hungUp());
			const claims = tokens.claimsFor(user);
			request.log.info({ user: user.id, session: claims.sid, address: request.ip }, "logged in");
			return {
				access_token: app.signAccessToken(claims),
				token_type: "Bearer" as const,
				expires_in: config.accessTokenSeconds,
			};
		},
	});
}
