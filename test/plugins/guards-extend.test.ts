/** What an author adds to tokens: claims when one is made, checks when one is verified, and the user behind one. */
import { setImmediate } from "node:timers/promises";
import t, { type Test } from "tap";
import type { App } from "../../src/app.ts";
import { errors } from "../../src/errors.ts";
import type { ClaimsSource } from "../../src/extend.ts";
import { form, goodPassword, testApp } from "../support/app.ts";
import { decode, segments } from "../support/forgery.ts";
import { beginSession, introspector } from "../support/sessions.ts";

declare module "../../src/extend.ts" {
	interface ExtraClaims {
		tenant: string;
		limits: { readonly seats: number };
	}
	interface CurrentUser {
		nickname: string;
	}
}

interface Pair {
	access_token: string;
	refresh_token: string;
}

/** A service with routes that show what a handler sees, and more of the test's own. */
async function open(test: Test, more: (app: App) => void = () => {}) {
	const extend = (app: App) => {
		const config = { access: "authenticated" };
		const { authenticate } = app;
		app.get("/claims", { config, preHandler: authenticate }, async ({ principal }) => principal.claims);
		app.get("/either", { config, preHandler: app.requires({ kind: "either" }) }, async ({ principal }) => principal);
		app.get("/user", { config, preHandler: authenticate }, async (request) => {
			const [first, second] = await Promise.all([request.currentUser(), request.currentUser()]);
			return { ...first, same: first === second && first === (await request.currentUser()) };
		});
		app.get(
			"/maybe",
			{ config: { access: "public" }, preHandler: app.requires({ optional: true }) },
			async (request) => {
				return request.findPrincipal() ? request.currentUser() : { nickname: "nobody" };
			},
		);
		more(app);
	};
	const house = await testApp(test, { extend });
	const id = await house.addUser("ada");
	const post = (url: string, fields: Record<string, string>, token?: string) => {
		const { payload, headers } = form(fields);
		const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
		return house.app.inject({ method: "POST", url, payload, headers: { ...headers, ...authorization } });
	};
	return { ...house, id, post, lastLine: () => house.logged.at(-1) };
}

/** What a token says. */
const claimsOf = (token: string) => decode(segments(token)[1]);

t.test("claims of addClaims are in every access token, and typed at request.principal.claims", async (t) => {
	let seats = 1;
	const { get, id, login, post } = await open(t, (app) => {
		app.addClaims(async ({ user, session }) => ({ tenant: `${user.username}, ${session.userId === user.id}` }));
		app.addClaims(() => ({ limits: { seats: seats++ } }));
	});
	const first = (await login("ada")).json<Pair>();
	const second = (await post("/refresh", { refresh_token: first.refresh_token })).json<Pair>();
	const third = (await post("/reauthenticate", { password: goodPassword }, second.access_token)).json<Pair>();
	for (const [index, { access_token }] of [first, second, third].entries()) {
		const expected = { tenant: "ada, true", limits: { seats: index + 1 } };
		t.match(claimsOf(access_token), { ...expected, sub: id, type: "access" });
		for (const time of ["first", "remembered"])
			t.same((await get("/claims", access_token)).json(), expected, `to a handler, ${time}`);
	}
	t.same((await get("/either", first.refresh_token)).json().claims ?? {}, {}, "a refresh token carries none");
});

t.test("a token from before the plugin has none of its claims, and is good", async (t) => {
	const { get, id, mint, claims } = await open(t);
	t.same((await get("/claims", mint(claims(id)))).json(), {});
});

t.test("nobody can change the claims of a principal, which requests with the same token share", async (t) => {
	let seen: unknown;
	const { get, login } = await open(t, (app) => {
		app.addClaims(() => ({ tenant: "blue", limits: { seats: 1 } }));
		app.addTokenCheck(({ claims }) => {
			seen = claims;
			return true;
		});
	});
	await get("/protected", (await login("ada")).json<Pair>().access_token);
	const claims = seen as { tenant: string; limits: { seats: number } };
	t.throws(() => {
		claims.tenant = "red";
	}, TypeError);
	t.throws(() => {
		claims.limits.seats = 100;
	}, TypeError);
});

t.test(
	"addClaims can overwrite no claim of ours, and give nothing that JSON cannot hold: no token is made",
	async (t) => {
		let source: ClaimsSource = () => ({});
		const { login, lastLine, app } = await open(t, (app) => app.addClaims((token) => source(token)));
		const circular: { self?: unknown } = {};
		circular.self = circular;
		const ours = Object.keys(claimsOf((await login("ada")).json<Pair>().access_token));
		t.ok(ours.length >= 14);
		const cases: [given: Record<string, unknown>, message: RegExp][] = [
			...ours.map((name): [Record<string, unknown>, RegExp] => [
				{ [name]: "x" },
				new RegExp(`addClaims gives ${name}, which is a claim of every token`),
			]),
			...[undefined, () => 1, 1n, Number.NaN, new Date(), new Map(), circular, [undefined], Symbol("x")].map(
				(value): [Record<string, unknown>, RegExp] => [{ tenant: value }, /tenant a value that JSON cannot hold/],
			),
			[{ tenant: "x".repeat(2100) }, /more than 2048 bytes/],
		];
		for (const [given, message] of cases) {
			source = () => given as ReturnType<ClaimsSource>;
			// The domain's own door: a login each would be a hash each.
			await t.rejects(app.extraClaims({} as never), { message }, String(message));
		}
		const answer = await login("ada");
		t.match([answer.statusCode, answer.json().code], [500, "INTERNAL"], "the fault is the plugin's");
		t.notMatch(answer.body, /2048|tenant/, "and the client is not told of it");
		t.match(lastLine(), { level: 50, err: { message: /addClaims gives more than 2048 bytes/ } }, "the log is");
		source = () => ({ tenant: "blue" });
		t.equal((await login("ada")).statusCode, 200);
		app.addClaims(() => ({ tenant: "red" }));
		await t.rejects(app.extraClaims({} as never), { message: "addClaims gives tenant twice" });

		// @ts-expect-error: a standard claim is refused by the type as well.
		app.addClaims(() => ({ sub: "root" }));
		// @ts-expect-error: and a claim that nobody declared.
		app.addClaims(() => ({ tenannt: "blue" }));
	},
);

t.test("a source of claims that fails costs nobody the refresh token, however late they come again", async (t) => {
	let broken = false;
	const { login, post, clock } = await open(t, (app) =>
		app.addClaims(async () => {
			if (broken) throw new Error("the tenants cannot be reached");
			return { tenant: "blue" };
		}),
	);
	const { refresh_token } = (await login("ada")).json<Pair>();
	broken = true;
	t.equal((await post("/refresh", { refresh_token })).statusCode, 500);
	clock.advance(3600);
	broken = false;
	t.equal((await post("/refresh", { refresh_token })).statusCode, 200);
});

t.test("a check of addTokenCheck is made on every request; anything but true is 401", async (t) => {
	let answer: unknown = true;
	const asked: string[] = [];
	const { get, login, lastLine, app } = await open(t, (app) =>
		app.addTokenCheck((principal, request) => {
			asked.push(`${principal.kind} ${request.routeOptions.url}`);
			return answer as boolean;
		}),
	);
	const { access_token, refresh_token } = (await login("ada")).json<Pair>();
	t.same(asked, [], "not where no token is");
	for (let round = 0; round < 3; round++) t.equal((await get("/protected", access_token)).statusCode, 200);
	t.equal((await get("/either", refresh_token)).statusCode, 200);
	t.equal((await get("/maybe")).json().nickname, "nobody");
	const three = Array.from({ length: 3 }, () => "access /protected");
	t.same(asked, [...three, "refresh /either"], "also for a remembered token, and not where none came");
	for (const refusal of [false, undefined, null, "true", 1, {}, Promise.resolve(false), Promise.resolve()]) {
		answer = refusal;
		const refused = await get("/protected", access_token);
		t.match(refused, { statusCode: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } });
		t.equal(refused.json().code, "INVALID_TOKEN");
		t.match(lastLine(), { reason: "a check of app.addTokenCheck said no" });
		t.equal((await get("/maybe", access_token)).statusCode, 401, "an optional guard refuses it too");
	}
	answer = Promise.resolve(true);
	t.equal((await get("/protected", access_token)).statusCode, 200, "an asynchronous yes");
	app.addTokenCheck(() => {
		throw new errors.INSUFFICIENT_PERMISSIONS();
	});
	t.equal((await get("/protected", access_token)).statusCode, 403, "a check may throw any code of the catalogue");
	answer = false;
	t.equal((await get("/protected", access_token)).statusCode, 401, "the first that refuses decides");
	answer = Promise.reject(new Error("its list cannot be reached"));
	t.equal((await get("/protected", access_token)).statusCode, 500, "a check that fails lets nobody in");
});

t.test("V08: a check that decides by a claim refuses at /refresh too, and the refresh token stays good", async (t) => {
	let suspended = false;
	const seen: string[] = [];
	const { login, post, clock } = await open(t, (app) => {
		app.addClaims(() => ({ tenant: "late" }));
		app.addTokenCheck(({ kind, claims: { tenant } }) => {
			seen.push(`${kind} ${tenant}`);
			return tenant === undefined || !suspended;
		});
	});
	const { refresh_token } = (await login("ada")).json<Pair>();
	suspended = true;
	const refused = await post("/refresh", { refresh_token });
	t.match([refused.statusCode, refused.json().code], [401, "INVALID_TOKEN"]);
	t.same(seen, ["refresh undefined", "access late"], "asked of the refresh token, and of the claims to be given");
	clock.advance(3600);
	suspended = false;
	t.equal((await post("/refresh", { refresh_token })).statusCode, 200, "the session did not move on");
});

t.test(
	"V08: what a check refuses is not active at /introspect either, and nobody else is refused for it",
	async (t) => {
		const refused = new Set<string>();
		let refuse = (): boolean => false;
		const house = await open(t, (app) => app.addTokenCheck(({ sessionId }) => !refused.has(sessionId) || refuse()));
		const asker = await introspector(house);
		const pair = await beginSession(house, house.id);
		const active = async (token: string) => {
			const answer = await house.post("/introspect", { token }, asker);
			return answer.statusCode === 200 ? answer.json<{ active: boolean }>().active : answer.statusCode;
		};
		t.same([await active(pair.access), await active(pair.refresh)], [true, true]);
		refused.add(pair.id);
		t.same([await active(pair.access), await active(pair.refresh)], [false, false]);
		refuse = () => {
			throw new errors.INSUFFICIENT_PERMISSIONS();
		};
		t.equal(await active(pair.access), false, "a check that throws a code of its own refuses the token, not who asks");
		refuse = () => {
			throw new Error("its list cannot be reached");
		};
		t.equal(await active(pair.access), 500, "a check that fails says nothing of the token");
		t.equal(await active(asker), true);
	},
);

t.test("a check sees only tokens that are good, and a handler only ones that passed it", async (t) => {
	let asked = 0;
	let reached = 0;
	let atCheck: unknown;
	const { get, mint, claims, id } = await open(t, (app) => {
		app.addTokenCheck((_principal, request) => {
			asked++;
			atCheck = request.findPrincipal();
			return false;
		});
		app.get("/reached", { config: { access: "authenticated" }, preHandler: app.authenticate }, async () => reached++);
		const preHandler = app.requires({ permissions: ["users:write"] });
		app.get("/write", { config: { access: "users:write" }, preHandler }, async () => reached++);
		app.get("/now", { config: { access: "authenticated" }, preHandler: app.requires({ fresh: true }) }, async () => 1);
	});
	const good = claims(id);
	await get("/reached", mint({ ...good, exp: good.iat - 60 }));
	await get("/reached", "x");
	await get("/write", mint(good));
	await get("/now", mint({ ...good, fresh: false }));
	t.equal(asked, 0, "expired, malformed, without the permission, not fresh: none got that far");
	await get("/reached", mint(good));
	t.same([asked, reached, atCheck], [1, 0, undefined], "refused: the handler did not run, and nobody was known");
});

t.test("currentUser is what the loader gives: asked once a request, and only where a handler asks", async (t) => {
	const loads: string[] = [];
	const { get, login, id } = await open(t, (app) =>
		app.loadUser(async (principal) => {
			loads.push(principal.id);
			return { nickname: "Countess" };
		}),
	);
	const { access_token } = (await login("ada")).json<Pair>();
	t.equal((await get("/protected", access_token)).statusCode, 200);
	t.same(loads, [], "a guard loads nobody");
	t.same((await get("/user", access_token)).json(), { nickname: "Countess", same: true });
	t.same(loads, [id], "three calls, one load");
	t.same((await get("/user", access_token)).json(), { nickname: "Countess", same: true });
	t.same(loads, [id, id], "and another one in the next request: nothing is remembered");
	t.same((await get("/maybe")).json(), { nickname: "nobody" });
});

t.test("a token whose user the loader does not find is 401, and only where a handler asks", async (t) => {
	const { get, login, lastLine, id, app } = await open(t, (app) => app.loadUser(() => undefined));
	const { access_token } = (await login("ada")).json<Pair>();
	const answer = await get("/user", access_token);
	t.match(answer, { statusCode: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } });
	t.equal(answer.json().code, "INVALID_TOKEN");
	t.notMatch(answer.body, id, "the client is not told whom it was about");
	t.match(lastLine(), { reason: `app.loadUser found nobody for ${id}` });
	t.equal((await get("/protected", access_token)).statusCode, 200);
	t.throws(() => app.loadUser(() => undefined), { message: /loadUser was called twice/ });
});

t.test("a handler that asks for the user early and awaits it late ends no process where there is nobody", async (t) => {
	const unhandled: unknown[] = [];
	const note = (reason: unknown) => unhandled.push(reason);
	process.on("unhandledRejection", note);
	t.teardown(() => process.off("unhandledRejection", note));
	const { get, mint, claims, id } = await open(t, (app) => {
		app.loadUser(() => undefined);
		app.get("/late", { config: { access: "authenticated" }, preHandler: app.authenticate }, async (request) => {
			const user = request.currentUser();
			// Node tells of a rejection that nobody heard when the promises of this turn are done.
			await setImmediate();
			return await user;
		});
	});
	const answer = await get("/late", mint(claims(id)));
	t.match([answer.statusCode, answer.json().code], [401, "INVALID_TOKEN"], "and the request is refused all the same");
	t.same(unhandled, []);
});

t.test("without a loader, currentUser is a fault of the route and says what is missing", async (t) => {
	const { get, login, lastLine } = await open(t);
	const { access_token } = (await login("ada")).json<Pair>();
	t.equal((await get("/user", access_token)).statusCode, 500);
	t.match(lastLine(), { err: { message: "request.currentUser() needs app.loadUser() in a plugin" } });
});
