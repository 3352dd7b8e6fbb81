/**
 * The answer of every route that gives tokens, in two steps: `app.makeAccessToken()` does all that can fail, then
 * `reply.giveTokens()` writes it, in the body or in cookies. Between the two a route changes what cannot be taken back.
 */
import type { Static } from "@sinclair/typebox";
import type { FastifyReply } from "fastify";
import fp from "fastify-plugin";
import type { NewToken } from "../src/extend.ts";
import type { TokenAnswer } from "../src/schemas.ts";
import type { Session } from "../src/sessions/session.ts";
import { deviceSeconds } from "../src/throttle/device-token.ts";
import type { AccessClaims } from "../src/tokens.ts";

/** An access token that was made just now. */
export interface AccessToken {
	text: string;
	/** What it says. */
	claims: AccessClaims;
	/** How long it is good. */
	seconds: number;
}

/** Which tokens to give, and how. */
export interface Gift {
	access: AccessToken;
	/** The session they belong to. */
	session: Session;
	/** Whether the refresh token is given too. */
	refresh: boolean;
	/** What makes the device a known one; only a login gives it. */
	deviceToken?: string;
	/** Where the request's own token was, when nothing else is said. */
	delivery?: "body" | "cookie";
}

declare module "fastify" {
	interface FastifyInstance {
		/**
		 * Makes an access token for a session. `fresh`: whether the password was given for this very token. Rejects with
		 * TOO_MANY_ROLES where no door would take it, and where a source of `app.addClaims` fails.
		 */
		makeAccessToken(token: NewToken & { fresh: boolean }): Promise<AccessToken>;
	}
	interface FastifyReply {
		/** Sets the cookies where they carry the tokens, and answers the body. */
		giveTokens(gift: Gift): Static<typeof TokenAnswer>;
	}
}

export default fp(
	async (app) => {
		const { clock, config, csrf, refresh, tokens } = app.services;

		app.decorate("makeAccessToken", async ({ user, session, fresh }) => {
			const extra = await app.extraClaims({ user, session });
			const claims = tokens.claimsFor(user, session, { fresh, extra });
			const text = await app.signAccessToken(claims);
			tokens.assertUsable(text);
			return { text, claims, seconds: claims.exp - claims.iat };
		});

		app.decorateReply("giveTokens", function (this: FastifyReply, { access, session, ...gift }: Gift) {
			const delivery = gift.delivery ?? (this.request.tokenLocation === "cookie" ? "cookie" : "body");
			const refreshToken = gift.refresh ? refresh.tokenOf(session) : undefined;
			// The end is by the store's clock, which may be behind: a session that has just ended is no error.
			const refreshSeconds = Math.max(0, session.expiresAt - clock.now());
			const times = {
				token_type: "Bearer" as const,
				expires_in: access.seconds,
				...(refreshToken === undefined ? {} : { refresh_expires_in: refreshSeconds }),
			};
			if (delivery === "body")
				return {
					access_token: access.text,
					...times,
					...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
					...(gift.deviceToken === undefined ? {} : { device_token: gift.deviceToken }),
					// For a browser that has cookies of another session as well.
					...(gift.refresh && config.tokenLocations.includes("cookie")
						? { csrf_token: csrf.valueFor(session.id) }
						: {}),
				};
			const csrfToken = csrf.valueFor(session.id);
			this.setTokenCookies({
				access: { value: access.text, seconds: access.seconds },
				csrf: { value: csrfToken, seconds: refreshSeconds },
				...(refreshToken === undefined ? {} : { refresh: { value: refreshToken, seconds: refreshSeconds } }),
				...(gift.deviceToken === undefined ? {} : { device: { value: gift.deviceToken, seconds: deviceSeconds } }),
			});
			return { ...times, csrf_token: csrfToken };
		});
	},
	{ name: "give-tokens", dependencies: ["services", "jwt", "auth", "cookies", "extend"] },
);
