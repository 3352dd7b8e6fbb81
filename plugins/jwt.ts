/**
 * @fastify/jwt over the key ring: it signs and it verifies signatures. Its errors become ours here, and the memory of
 * verified tokens stands here in front of it.
 */
import fastifyJwt, { type FastifyJWTOptions, type JWT } from "@fastify/jwt";
import Fastify from "fastify";
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import type { SigningKey, VerificationKey } from "../src/keys/key-pair.ts";
import type { Principal } from "../src/principal.ts";
import type { AccessClaims } from "../src/tokens.ts";
import { createVerifiedTokens } from "../src/verified-tokens.ts";

declare module "fastify" {
	interface FastifyInstance {
		/** Signs an access token with the key that is active now. */
		signAccessToken(claims: AccessClaims): Promise<string>;
		/** Who a token names, after every check on it. A remembered one is answered, or refused, without a promise. Throws INVALID_TOKEN. */
		verifyAccessToken(token: string): Principal | Promise<Principal>;
	}
}

export default fp(
	async (app) => {
		const { keys, tokens } = app.services;
		const { verifications } = tokens;
		const signerOf = oncePerKey(({ kid, algorithm, privatePem, publicPem }: SigningKey) =>
			openJwt({
				secret: { private: privatePem, public: publicPem },
				sign: { algorithm, kid, header: { alg: algorithm, typ: "at+jwt" } },
			}),
		);
		const verifierOf = oncePerKey(({ algorithm, publicPem }: VerificationKey) =>
			openJwt({
				secret: { public: publicPem },
				verify: {
					algorithms: [algorithm],
					// Times are checked by src/tokens.ts, on every request and by the injected clock.
					ignoreExpiration: true,
					ignoreNotBefore: true,
					cache: false,
				},
			}),
		);

		const verified = createVerifiedTokens();
		let losses = 0;
		keys.onLoss(() => {
			losses++;
			verified.clear();
		});

		app.decorate("signAccessToken", async (claims: AccessClaims): Promise<string> => {
			const signer = await signerOf(keys.signing());
			return signer.sign(claims);
		});

		app.decorate("verifyAccessToken", (token: string) => {
			const known = verified.get(token);
			if (known === undefined) return verifyFirst(token);
			try {
				const principal = tokens.assertLive(known);
				verifications.remembered++;
				return principal;
			} catch (error) {
				verifications.refused++;
				if (tokens.hasExpired(known)) verified.delete(token);
				throw error;
			}
		});

		async function verifyFirst(token: string): Promise<Principal> {
			try {
				const principal = await checkInFull(token);
				verifications.checked++;
				return principal;
			} catch (error) {
				verifications.refused++;
				throw error;
			}
		}

		async function checkInFull(token: string): Promise<Principal> {
			const lossesBefore = losses;
			const verifier = await verifierOf(tokens.keyFor(tokens.readHeader(token)));
			let claims: unknown;
			try {
				claims = verifier.verify(token);
			} catch (cause) {
				// Whatever @fastify/jwt says of a token, with whatever status, it is not valid.
				throw new errors.INVALID_TOKEN({ cause });
			}
			const principal = tokens.principal(claims);
			// Not where a key left the ring meanwhile: it may have been this token's.
			if (lossesBefore === losses && !tokens.hasExpired(principal)) verified.set(token, principal);
			return tokens.assertLive(principal);
		}
	},
	{ name: "jwt", dependencies: ["services"] },
);

/**
 * @fastify/jwt with one key of its own, in an instance of its own. It reads the key of its registration once, but one that
 * comes with a call anew each time, which takes longer than signing with it.
 */
async function openJwt(options: FastifyJWTOptions): Promise<JWT> {
	const instance = Fastify();
	await instance.register(fastifyJwt, options);
	return instance.jwt;
}

/** Opens once what is made of a key, and forgets it with the key. */
function oncePerKey<Key extends object>(open: (key: Key) => Promise<JWT>): (key: Key) => Promise<JWT> {
	const opened = new WeakMap<Key, Promise<JWT>>();
	return (key) => {
		const jwt = opened.get(key) ?? open(key);
		opened.set(key, jwt);
		return jwt;
	};
}
