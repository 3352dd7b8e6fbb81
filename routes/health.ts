/** Probes. Live says that the process runs; ready says that it should get traffic. Neither asks the store. */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";

const Live = Type.Object({ status: Type.Literal("ok") }, { additionalProperties: false, description: "It runs" });
const Ready = Type.Object(
	{
		status: Type.String({ description: "ok, degraded, draining, stale or no-signing-key" }),
		store: Type.String({ description: "up or down" }),
	},
	{ additionalProperties: false, description: "What it can do now" },
);

export default async function health(app: App) {
	const { readiness } = app.services;

	app.get("/livez", {
		config: { access: "public" },
		schema: {
			summary: "Is the process alive?",
			tags: ["health"],
			response: { 200: Live },
		},
		handler: async () => ({ status: "ok" as const }),
	});

	app.get("/readyz", {
		config: { access: "public" },
		schema: {
			summary: "Should traffic be sent here?",
			tags: ["health"],
			response: { 200: Ready, 503: Ready },
		},
		handler: async (_request, reply) => {
			const { ready, status, store } = readiness.check();
			return reply.code(ready ? 200 : 503).send({ status, store });
		},
	});
}
