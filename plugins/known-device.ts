/** `request.caller()`: where a password comes from, for the routes that take one. */
import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import type { Caller } from "../src/credentials.ts";
import type { Device } from "../src/sessions/sessions.ts";
import { plainAddress } from "../src/throttle/network.ts";

declare module "fastify" {
	interface FastifyRequest {
		/** Address, id, User-Agent and device token of this request; the token's header goes before its cookie. */
		caller(): Caller & Device;
	}
}

export default fp(
	async (app) => {
		const cookies = app.services.config.tokenLocations.includes("cookie");
		let hasWarned = false;
		/** All such requests count as one client, whose wrong passwords lock the others out. */
		function warnOnce(address: string): void {
			if (hasWarned || address === "" || isIP(plainAddress(address)) > 0) return;
			hasWarned = true;
			app.services.log.warn(
				{ address },
				"a proxy of TRUST_PROXY names no address in X-Forwarded-For: its clients count as one",
			);
		}
		app.decorateRequest("caller", function (this: FastifyRequest) {
			const { "user-agent": userAgent, "x-device-token": header } = this.headers;
			const deviceToken = typeof header === "string" ? header : cookies ? this.cookieTokens().device : undefined;
			// Whatever the type says: where the client has reset its connection there is no address any more.
			const address = this.ip ?? "";
			warnOnce(address);
			return { userAgent, address, requestId: this.id, deviceToken };
		});
	},
	{ name: "known-device", dependencies: ["services", "cookies"] },
);
