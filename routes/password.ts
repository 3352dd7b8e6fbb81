/** `POST /password`: change your own password. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { formOrJson, NoQuery, refusals } from "../src/schemas.ts";

const Change = Type.Object(
	{ current_password: Type.String(), new_password: Type.String() },
	{ additionalProperties: false },
);

export default async function password(app: App) {
	const { credentials } = app.services;

	app.post("/password", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			summary: "Change your own password",
			tags: ["account"],
			consumes: formOrJson,
			querystring: NoQuery,
			body: Change,
			response: {
				204: Type.Null({ description: "Changed" }),
				...refusals(
					"VALIDATION_FAILED",
					"MALFORMED_REQUEST",
					"INVALID_PASSWORD",
					"WEAK_PASSWORD",
					"INVALID_CURRENT_PASSWORD",
					"CROSS_ORIGIN_REFUSED",
					"PAYLOAD_TOO_LARGE",
					"UNSUPPORTED_MEDIA_TYPE",
					"BUSY",
					"STORE_UNAVAILABLE",
				),
			},
		},
		handler: async (request, reply) => {
			const { current_password, new_password } = request.body;
			await credentials.change(request.principal.id, current_password, new_password, reply.hungUp());
			request.log.info({ user: request.principal.id, address: request.ip }, "password changed");
			return reply.code(204).send(null);
		},
	});
}
