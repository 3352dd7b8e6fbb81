/** Default deny: what a route has to declare before the process starts at all. */
import t from "tap";
import { disagreement, type Needs } from "../../src/access.ts";
import { type App, buildApp } from "../../src/app.ts";
import { testApp } from "../support/app.ts";

const handler = async () => "reached";

t.test("a route that does not agree with its guards stops the start, and the message names it", async (t) => {
	const cases: [name: string, add: (app: App) => void, message: RegExp][] = [
		["no config", (app) => app.get("/open", handler), /GET \/open declares no config\.access/],
		["no access", (app) => app.get("/open", { config: {} }, handler), /GET \/open declares no config\.access/],
		[
			"a guard, but no access",
			(app) => app.get("/open", { preHandler: app.authenticate }, handler),
			/GET \/open declares no config\.access/,
		],
		[
			"authenticated, without a guard",
			(app) => app.get("/open", { config: { access: "authenticated" } }, handler),
			/GET \/open is declared authenticated, yet has no guard/,
		],
		[
			"authenticated, with a preHandler that is no guard",
			(app) => app.get("/open", { config: { access: "authenticated" }, preHandler: async () => {} }, handler),
			/GET \/open is declared authenticated, yet has no guard/,
		],
		[
			"a guard in the place where validation has not run",
			(app) => app.get("/open", { config: { access: "authenticated" }, onRequest: app.authenticate }, handler),
			/GET \/open is declared authenticated, yet has no guard/,
		],
		[
			"public, with a guard",
			(app) => app.post("/open", { config: { access: "public" }, preHandler: app.authenticate }, handler),
			/POST \/open is declared public, yet has a guard/,
		],
		[
			"a permission, with the plain guard",
			(app) => app.delete("/open", { config: { access: "users:write" }, preHandler: app.authenticate }, handler),
			/DELETE \/open is declared users:write, yet no guard asks for that permission/,
		],
		[
			"a permission, with the guard of another",
			(app) => {
				const preHandler = app.requires({ permissions: ["users:read"] });
				app.get("/open", { config: { access: "users:write" }, preHandler }, handler);
			},
			/GET \/open is declared users:write, yet no guard asks for that permission/,
		],
		[
			"authenticated, with a stricter guard",
			(app) => {
				const preHandler = app.requires({ permissions: ["users:read"] });
				app.get("/open", { config: { access: "authenticated" }, preHandler }, handler);
			},
			/GET \/open is declared authenticated, yet a guard asks for a permission/,
		],
		[
			"authenticated, with a guard that lets everybody through",
			(app) => {
				const preHandler = app.requires({ optional: true });
				app.get("/open", { config: { access: "authenticated" }, preHandler }, handler);
			},
			/GET \/open is declared authenticated, yet its guard is optional: that is public/,
		],
		[
			"a permission, with a guard that lets everybody through",
			(app) => {
				const preHandler = app.requires({ optional: true });
				app.get("/open", { config: { access: "users:read" }, preHandler }, handler);
			},
			/GET \/open is declared users:read, yet its guard is optional/,
		],
		[
			"two faults at once",
			(app) => {
				app.get("/one", handler);
				app.get("/two", handler);
			},
			/GET \/one .*GET \/two /s,
		],
		[
			"a route inside of a plugin",
			(app) => void app.register(async (scope) => void scope.get("/inner", handler), { prefix: "/deep" }),
			/GET \/deep\/inner declares no config\.access/,
		],
	];
	const { services } = await testApp(t);
	for (const [name, add, message] of cases) {
		const app = await buildApp(services);
		t.teardown(() => app.close());
		add(app);
		await t.rejects(Promise.resolve(app.ready()), { message }, name);
	}
});

t.test("routes that say what their guards do are served", async (t) => {
	const extend = (app: App) => {
		const { authenticate } = app;
		const read = app.requires({ permissions: ["users:read"] });
		app.get("/public", { config: { access: "public" } }, handler);
		app.get("/mine", { config: { access: "authenticated" }, preHandler: authenticate }, handler);
		app.get("/list", { config: { access: "users:read" }, preHandler: [async () => {}, authenticate, read] }, handler);
	};
	const { get, tokenFor, addUser } = await testApp(t, { extend });
	await addUser("ada");
	const tokens = [undefined, await tokenFor("ada"), await tokenFor("root")];
	for (const [url, ...expected] of [
		["/public", 200, 200, 200],
		["/mine", 401, 200, 200],
		["/list", 401, 403, 200],
	] as const) {
		const statuses = await Promise.all(tokens.map(async (token) => (await get(url, token)).statusCode));
		t.same(statuses, expected, `${url} for nobody, a user, an administrator`);
	}
});

t.test("the table of declarations and guards", async (t) => {
	const any = { permissions: [] };
	const read = { permissions: ["users:read"] };
	const both = { permissions: ["users:read", "users:write"] };
	const optional = { optional: true };
	const refresh = { kind: "refresh" } as const;
	const cases: [declared: string | undefined, guards: Needs[], agrees: boolean][] = [
		["public", [optional], true],
		["public", [optional, optional], true],
		["public", [optional, any], false],
		["public", [{ ...optional, ...read }], false],
		["authenticated", [optional], false],
		["authenticated", [optional, any], true],
		["authenticated", [refresh], true],
		["public", [refresh], false],
		["users:read", [refresh], false],
		["users:read", [optional], false],
		["users:read", [{ ...optional, ...read }], false],
		["users:read", [any, { ...optional, ...read }], false],
		["users:read", [optional, read], true],
		["users:read", [{ ...optional, ...read }, any, read], true],
		[undefined, [], false],
		[undefined, [any], false],
		["public", [], true],
		["public", [any], false],
		["public", [read], false],
		["authenticated", [], false],
		["authenticated", [any], true],
		["authenticated", [any, any], true],
		["authenticated", [read], false],
		["authenticated", [any, read], false],
		["users:read", [], false],
		["users:read", [any], false],
		["users:read", [read], true],
		["users:read", [any, read], true],
		["users:read", [both], true],
		["users:write", [read], false],
		["users:write", [both], true],
		["", [], false],
		["", [any], false],
		["Public", [], false],
		["PUBLIC", [any], false],
	];
	for (const [declared, guards, agrees] of cases) {
		const reason = disagreement(declared, guards);
		t.equal(reason === undefined, agrees, `${declared} with ${JSON.stringify(guards)}: ${reason ?? "agrees"}`);
	}
});
