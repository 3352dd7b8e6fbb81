/**
 * What an author adds to tokens, in a plugin file of their own: `app.addClaims()` when one is made, `app.addTokenCheck()`
 * when one is verified, `app.loadUser()` for the user behind one. docs/guards.md has a complete file for each.
 */
import type { FastifyRequest } from "fastify";
import fp from "fastify-plugin";
import {
	type ClaimsSource,
	type CurrentUser,
	type ExtraClaims,
	mergeClaims,
	type NewToken,
	type TokenCheck,
	type UserLoader,
} from "../src/extend.ts";
import type { Principal } from "../src/principal.ts";
import { type AccessClaims, refuse } from "../src/tokens.ts";

declare module "fastify" {
	interface FastifyInstance {
		/** Adds claims to every access token: at the login, at each refresh, at reauthentication. */
		addClaims(source: ClaimsSource): void;
		/** Adds a check, made on every guarded request after all others and never remembered. */
		addTokenCheck(check: TokenCheck<FastifyRequest>): void;
		/** Says where `request.currentUser()` comes from. */
		loadUser(load: UserLoader): void;
		/** The claims that `addClaims` gives a token. Rejects where a source fails or gives what it must not. */
		extraClaims(token: NewToken): Promise<Partial<ExtraClaims>>;
		/** Makes the checks of `addTokenCheck`; `undefined` where there are none. Rejects with INVALID_TOKEN. */
		checkToken(principal: Principal, request: FastifyRequest): Promise<void> | undefined;
		/** The same of a token that is about to be given, by its claims. */
		checkNewToken(claims: AccessClaims, request: FastifyRequest): Promise<void> | undefined;
	}
	interface FastifyRequest {
		/** The user behind the token, loaded when first asked for, once a request. Rejects with INVALID_TOKEN where there is none. */
		currentUser(): Promise<CurrentUser>;
		/** Set by `currentUser`; call that instead. */
		loadedUser?: Promise<CurrentUser>;
	}
}

export default fp(
	async (app) => {
		const { tokens } = app.services;
		const sources: ClaimsSource[] = [];
		const checks: TokenCheck<FastifyRequest>[] = [];
		let loader: UserLoader | undefined;

		app.decorate("addClaims", (source: ClaimsSource) => void sources.push(source));
		app.decorate("extraClaims", async (token: NewToken) => {
			const given = [];
			for (const source of sources) given.push(await source(token));
			return mergeClaims(given);
		});

		app.decorate("addTokenCheck", (check: TokenCheck<FastifyRequest>) => void checks.push(check));
		// Without a check there is no promise to wait for: the common case, and the fast one.
		app.decorate("checkToken", (principal: Principal, request: FastifyRequest) =>
			checks.length === 0 ? undefined : ask(principal, request),
		);
		app.decorate("checkNewToken", (claims: AccessClaims, request: FastifyRequest) =>
			// A copy, as a principal is frozen to its depths and the values of its claims are an author's own.
			checks.length === 0 ? undefined : ask(tokens.principal(structuredClone(claims)), request),
		);
		async function ask(principal: Principal, request: FastifyRequest): Promise<void> {
			for (const check of checks) {
				// Not `=== false`: a check that forgets to answer must not let anybody in.
				if ((await check(principal, request)) !== true) refuse("a check of app.addTokenCheck said no");
			}
		}

		app.decorate("loadUser", (load: UserLoader) => {
			if (loader) throw new Error("app.loadUser was called twice: there is one current user");
			loader = load;
		});
		app.decorateRequest("currentUser", function (this: FastifyRequest) {
			if (this.loadedUser === undefined) {
				this.loadedUser = load(this.principal);
				// Who awaits it hears of a failure; a handler that asks early and awaits late must not end the process by it.
				this.loadedUser.catch(() => {});
			}
			return this.loadedUser;
		});
		async function load(principal: Principal): Promise<CurrentUser> {
			if (!loader) throw new Error("request.currentUser() needs app.loadUser() in a plugin");
			return (await loader(principal)) ?? refuse(`app.loadUser found nobody for ${principal.id}`);
		}
	},
	{ name: "extend", dependencies: ["services"] },
);
