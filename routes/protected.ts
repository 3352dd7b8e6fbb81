/** `GET /protected`: the smallest protected route. Copy it to make your own. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";

const Greeting = Type.Object(
	{ message: Type.String() },
	{ additionalProperties: false, description: "The token was accepted" },
);

export default async function protectedRoute(app: App) {
	app.get("/protected", {
		config: { access: "authenticated", shed: "never" },
		preHandler: app.authenticate,
		schema: {
			operationId: "getProtected",
			summary: "Shows that your token is accepted",
			tags: ["account"],
			response: { 200: Greeting },
		},
		handler: async (request) => ({
			message: `Protected route for user: ${request.principal.id}`,
		}),
	});
}
