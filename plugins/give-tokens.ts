/** `reply.giveTokens()`: the answer of every route that gives tokens, in the body or in cookies. */
import type { Static } from "@sinclair/typebox";
import type { FastifyReply } from "fastify";
import fp from "fastify-plugin";
import type { ExtraClaims, NewToken } from "../src/extend.ts";
import type { TokenAnswer } from "../src/schemas.ts";

/** Which tokens to give, and how. */
export interface Gift extends NewToken {
	/** The extra claims, where the caller had to ask for them before; otherwise they are asked for here. */
	extra?: Partial<ExtraClaims>;
	/** Whether the password was given for this very token. */
	fresh: boolean;
	/** Whether the refresh token is given too. */
	refresh: boolean;
	delivery: "body" | "cookie";
}

declare module "fastify" {
	interface FastifyReply {
		/** Signs an access token for a session, sets the cookies where they carry it, and answers the body. */
		giveTokens(gift: Gift): Promise<Static<typeof TokenAnswer>>;
	}
}

export default fp(
	async (app) => {
		const { clock, csrf, refresh, tokens } = app.services;
		app.decorateReply("giveTokens", async function (this: FastifyReply, gift: Gift) {
			const { user, session, fresh, delivery } = gift;
			const extra = gift.extra ?? (await app.extraClaims(gift));
			const claims = tokens.claimsFor(user, session, { fresh, extra });
			const accessToken = await app.signAccessToken(claims);
			tokens.assertUsable(accessToken);
			const expiresIn = claims.exp - claims.iat;
			const refreshToken = gift.refresh ? refresh.tokenOf(session) : undefined;
			const refreshExpiresIn = session.expiresAt - clock.now();
			const times = {
				token_type: "Bearer" as const,
				expires_in: expiresIn,
				...(refreshToken === undefined ? {} : { refresh_expires_in: refreshExpiresIn }),
			};
			if (delivery === "body")
				return {
					access_token: accessToken,
					...times,
					...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
				};
			const csrfToken = csrf.valueFor(session.id);
			this.setTokenCookies({
				access: { value: accessToken, seconds: expiresIn },
				csrf: { value: csrfToken, seconds: refreshExpiresIn },
				...(refreshToken === undefined ? {} : { refresh: { value: refreshToken, seconds: refreshExpiresIn } }),
			});
			return { ...times, csrf_token: csrfToken };
		});
	},
	{ name: "give-tokens", dependencies: ["services", "jwt", "cookies", "extend"] },
);
