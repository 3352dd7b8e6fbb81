/** Default deny: the process does not start while a route does not say who may call it, or its guards say otherwise. */
import type { RouteOptions } from "fastify";
import fp from "fastify-plugin";
import { type Access, disagreement, needsOf } from "../src/access.ts";

declare module "fastify" {
	interface FastifyContextConfig {
		/** Who may call the route: `public` (also where a guard is optional), `authenticated`, or the permission needed. */
		access?: Access;
	}
}

export default fp(
	async (app) => {
		const routes: RouteOptions[] = [];
		app.addHook("onRoute", (route) => {
			routes.push(route);
		});
		app.addHook("onReady", async () => {
			const faults = routes.flatMap(({ method, url, config, preHandler }) => {
				const fault = disagreement(config?.access, needsOf(preHandler));
				return fault ? [`  * ${method} ${url} ${fault}`] : [];
			});
			if (faults.length > 0) throw new Error(`Routes without a clear rule of access:\n${faults.join("\n")}`);
		});
	},
	{ name: "access", dependencies: ["auth"] },
);
