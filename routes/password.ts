/** `POST /password`: change your own password. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { csrfField, deviceHeader, formOrJson, NoQuery, refusals } from "../src/schemas.ts";

const Change = Type.Object(
	{ current_password: Type.String(), new_password: Type.String(), ...csrfField },
	{ additionalProperties: false },
);

export default async function password(app: App) {
	const { clock, credentials, securityEvents } = app.services;

	app.post("/password", {
		config: { access: "authenticated", shed: "first" },
		preHandler: app.authenticate,
		schema: {
			operationId: "changePassword",
			summary: "Change your own password; your other sessions end",
			tags: ["account"],
			consumes: formOrJson,
			querystring: NoQuery,
			headers: deviceHeader,
			body: Change,
			response: {
				204: {
					...Type.Null({ description: "Changed; all your devices but this one are unknown" }),
					headers: {
						"X-Device-Token": Type.Optional(
							Type.String({ description: "In place of the one that was sent in this header" }),
						),
					},
				},
				...refusals("INVALID_PASSWORD", "WEAK_PASSWORD", "INVALID_CURRENT_PASSWORD", "TOO_MANY_ATTEMPTS", "BUSY"),
			},
		},
		handler: async (request, reply) => {
			const { current_password, new_password } = request.body;
			const { id: userId, sessionId } = request.principal;
			const device = await credentials.change(
				{ userId, sessionId },
				current_password,
				new_password,
				request.caller(),
				reply.hungUp(),
			);
			// Back the way it came: a program reads a header, a browser keeps a cookie.
			if (device && request.headers["x-device-token"] !== undefined) reply.header("x-device-token", device.deviceToken);
			else if (device)
				reply.setTokenCookies({
					device: { value: device.deviceToken, seconds: Math.max(0, device.expiresAt - clock.now()) },
				});
			securityEvents.record({ event: "password_changed", user: userId, session: sessionId }, request);
			return reply.code(204).send(null);
		},
	});
}
