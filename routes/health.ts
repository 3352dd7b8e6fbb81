/**
 * Probes, each with one meaning. Live: the process runs. Started: it has migrated its store and loaded its keys. Ready:
 * traffic should come here. None asks the store. What they answer before the start is over is in src/probes.ts.
 */
import { Type } from "@sinclair/typebox";
import type { App } from "../src/app.ts";
import { readyStatuses } from "../src/probes.ts";
import { storeStates } from "../src/readiness.ts";

const Live = Type.Object({ status: Type.Literal("ok") }, { additionalProperties: false, description: "Yes" });
const Ready = Type.Object(
	{
		status: Type.String({ enum: [...readyStatuses] }),
		store: Type.String({ enum: [...storeStates] }),
	},
	{ additionalProperties: false, description: "What it can do now" },
);

export default async function health(app: App) {
	const { readiness } = app.services;

	app.get("/livez", {
		config: { access: "public", shed: "never" },
		schema: {
			summary: "Is the process alive?",
			tags: ["health"],
			response: { 200: Live },
		},
		handler: async () => ({ status: "ok" as const }),
	});

	app.get("/startupz", {
		config: { access: "public", shed: "never" },
		schema: {
			summary: "Has the process started?",
			tags: ["health"],
			response: { 200: Live },
		},
		handler: async () => ({ status: "ok" as const }),
	});

	app.get("/readyz", {
		config: { access: "public", shed: "never" },
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
