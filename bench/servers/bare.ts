/** Bare Fastify: the handler of `/protected`, and no plugin, no hook, no setting. */
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import Fastify from "fastify";
import { answerQuestions } from "./questions.ts";

const user = { id: randomBytes(16).toString("base64url") };
const app = Fastify();
app.get("/protected", {
	schema: {
		response: {
			200: {
				type: "object",
				properties: { message: { type: "string" } },
				required: ["message"],
				additionalProperties: false,
			},
		},
	},
	handler: async () => ({ message: `Protected route for user: ${user.id}` }),
});
// An orderly end: only then Node keeps the compiled code (NODE_COMPILE_CACHE, in the figure of the start).
process.once("SIGTERM", () => process.exit(0));
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT ?? 0) });
answerQuestions(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
