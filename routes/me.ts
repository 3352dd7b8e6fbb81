/** `GET /me`: who the token says you are. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { errors } from "../src/errors.ts";

const Me = Type.Object(
	{
		id: Type.String(),
		username: Type.String(),
		roles: Type.Array(Type.String()),
		permissions: Type.Array(Type.String()),
		issued_at: Type.Integer({ description: "Epoch seconds" }),
		expires_at: Type.Integer({ description: "Epoch seconds" }),
	},
	{ additionalProperties: false, description: "The account, as the token says; its name as it is now" },
);

export default async function me(app: App) {
	const { users } = app.services;

	app.get("/me", {
		config: { access: "authenticated" },
		preHandler: app.authenticate,
		schema: {
			operationId: "getMe",
			summary: "Who the token says you are",
			tags: ["account"],
			response: { 200: Me },
		},
		handler: async ({ principal }) => {
			// Everything but the name is in the token; the name can change, so the token does not carry it.
			const username = await users.findName(principal.id);
			if (username === undefined)
				throw new errors.INVALID_TOKEN({
					cause: new Error("the account is gone"),
				});
			return {
				id: principal.id,
				username,
				roles: [...principal.roles],
				permissions: [...principal.permissions],
				issued_at: principal.issuedAt,
				expires_at: principal.expiresAt,
			};
		},
	});
}
