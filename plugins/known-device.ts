/** `request.caller()`: where a password comes from, for the routes that take one. */
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import type { Caller } from "../src/credentials.ts";
import type { Device } from "../src/sessions/sessions.ts";

declare module "fastify" {
	interface FastifyRequest {
		/** Address, id, User-Agent and device token of this request; the token's header goes before its cookie. */
		caller(): Caller & Device;
	}
}

export default fp(
	async (app) => {
		const cookies = app.services.config.tokenLocations.includes("cookie");
		app.decorateRequest("caller", function (this: FastifyRequest) {
			const { "user-agent": userAgent, "x-device-token": header } = this.headers;
			const deviceToken = typeof header === "string" ? header : cookies ? this.cookieTokens().device : undefined;
			// Whatever the type says: where the client has reset its connection there is no address any more.
			const address = this.ip ?? "";
			return { userAgent, address, requestId: this.id, deviceToken };
		});
	},
	{ name: "known-device", dependencies: ["services", "cookies"] },
);
