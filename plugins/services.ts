/** `app.services`: the domain, for routes and plugins. */
import fp from "fastify-plugin";
import type { Services } from "../src/services.ts";

declare module "fastify" {
	interface FastifyInstance {
		services: Services;
	}
}

export default fp<{ services: Services }>(
	async (app, { services }) => {
		app.decorate("services", services);
	},
	{ name: "services" },
);
