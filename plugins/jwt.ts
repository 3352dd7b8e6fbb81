/**
 * @fastify/jwt over the key ring: it signs and it verifies signatures. Its errors become ours here, and the memory of
 * verified tokens stands here in front of it.
 */
import fastifyJwt from "@fastify/jwt";
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import { LRUCache } from "lru-cache";
import { codeOf } from "../src/error-answers.ts";
import { errors } from "../src/errors.ts";
import type { Principal } from "../src/principal.ts";
import type { AccessClaims } from "../src/tokens.ts";

declare module "fastify" {
	interface FastifyInstance {
		/** Signs an access token with the key that is active now. */
		signAccessToken(claims: AccessClaims): string;
		/** Who a token's verified claims name; all checks but expiry and revocation. Rejects with INVALID_TOKEN. */
		verifyAccessToken(request: FastifyRequest, token: string): Principal | Promise<Principal>;
	}
	interface FastifyRequest {
		/** The token that is being verified, for @fastify/jwt. */
		presentedToken: string | null;
	}
}

type KeyCallback = (error: Error | null, key: string | undefined) => void;

/** How many verified tokens are remembered; the least recently used one makes room. */
const mostVerifiedTokens = 25_000;

export default fp(
	async (app) => {
		const { keys, tokens } = app.services;
		app.decorateRequest("presentedToken", null);
		await app.register(fastifyJwt, {
			decoratorName: "verifiedClaims",
			secret: {
				private: async () => keys.signing().privatePem,
				// A PEM string, because a KeyObject would make a new verifier for each request.
				public: (_request: FastifyRequest, decoded: fastifyJwt.TokenOrHeader, done: KeyCallback) => {
					try {
						done(null, tokens.keyFor((decoded as { header?: unknown }).header).publicPem);
					} catch (error) {
						done(error as Error, undefined);
					}
				},
			},
			decode: { complete: true },
			verify: {
				algorithms: ["ES256", "RS256", "EdDSA"],
				extractToken: ({ presentedToken }) => presentedToken ?? "",
				// Times are checked by src/tokens.ts, on every request and by the injected clock.
				ignoreExpiration: true,
				ignoreNotBefore: true,
				cache: false,
			},
		});

		// The whole text is the key, and only verified tokens enter: nobody can plant an entry or share another's.
		const verified = new LRUCache<string, Principal>({
			max: mostVerifiedTokens,
		});
		let losses = 0;
		keys.onLoss(() => {
			losses++;
			verified.clear();
		});

		app.decorate("signAccessToken", (claims: AccessClaims): string => {
			const { kid, algorithm, privatePem } = keys.signing();
			return app.jwt.sign(claims, {
				key: privatePem,
				kid,
				algorithm,
				header: { alg: algorithm, typ: "at+jwt" },
			});
		});

		app.decorate("verifyAccessToken", (request: FastifyRequest, token: string) => {
			const known = verified.get(token);
			if (known === undefined) return verifyFirst(request, token);
			if (tokens.hasExpired(known)) verified.delete(token);
			return known;
		});

		async function verifyFirst(request: FastifyRequest, token: string): Promise<Principal> {
			tokens.checkShape(token);
			const lossesBefore = losses;
			let claims: unknown;
			try {
				request.presentedToken = token;
				claims = await request.jwtVerify();
			} catch (cause) {
				// Ours pass; whatever @fastify/jwt says of a token, with whatever status, it is not valid.
				throw codeOf(cause) === "INVALID_TOKEN" ? cause : new errors.INVALID_TOKEN({ cause });
			}
			const principal = tokens.principal(claims);
			// Not where a key left the ring meanwhile: it may have been this token's.
			if (lossesBefore === losses && !tokens.hasExpired(principal)) verified.set(token, principal);
			return principal;
		}
	},
	{ name: "jwt", dependencies: ["services"] },
);
