/**
 * Every route and its policy, in one table: a change of policy is a visible diff. For a new route, run this file and
 * copy the line that it shows, after having read it.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { TObject, TSchema } from "@sinclair/typebox";
import type { FastifyInstance, RouteOptions } from "fastify";
import t from "tap";
import type { Needs } from "../src/access.ts";
import { form, testApp } from "./support/app.ts";

/**
 * access: what the route declares. asks: the permissions its guards ask for, or the kind of token where it is another
 * than an access token, `-` where there is no guard.
 * consumes: the content types it takes. cache: Cache-Control of an answer to a caller with every right.
 * nobody: the status without a token. other site: the status when a page of another site sends the request.
 * A form is sent with an "x" in every required field, so 401 at /login is its refusal of a wrong password.
 */
const expected = `
method  url                                      access             asks               consumes   cache                nobody  other site
GET     /.well-known/jwks.json                   public             -                  -          public, max-age=300  200     200
HEAD    /.well-known/jwks.json                   public             -                  -          public, max-age=300  200     200
GET     /.well-known/oauth-authorization-server  public             -                  -          public, max-age=300  200     200
HEAD    /.well-known/oauth-authorization-server  public             -                  -          public, max-age=300  200     200
POST    /introspect                              tokens:introspect  tokens:introspect  form       no-store             401     403
GET     /livez                                   public             -                  -          no-store             200     200
HEAD    /livez                                   public             -                  -          no-store             200     200
POST    /login                                   public             -                  form+json  no-store             401     403
POST    /logout                                  authenticated      either             form+json  no-store             401     403
POST    /logout/all                              authenticated      either             form+json  no-store             401     403
GET     /me                                      authenticated      any                -          no-store             401     200
HEAD    /me                                      authenticated      any                -          no-store             401     200
POST    /password                                authenticated      any                form+json  no-store             401     403
GET     /protected                               authenticated      any                -          no-store             401     200
HEAD    /protected                               authenticated      any                -          no-store             401     200
GET     /readyz                                  public             -                  -          no-store             200     200
HEAD    /readyz                                  public             -                  -          no-store             200     200
POST    /reauthenticate                          authenticated      any                form+json  no-store             401     403
POST    /refresh                                 authenticated      refresh            form+json  no-store             401     403
POST    /revoke                                  authenticated      any                form       no-store             401     403
GET     /sessions                                authenticated      any                -          no-store             401     200
HEAD    /sessions                                authenticated      any                -          no-store             401     200
DELETE  /sessions/:id                            authenticated      any                -          no-store             401     403
GET     /startupz                                public             -                  -          no-store             200     200
HEAD    /startupz                                public             -                  -          no-store             200     200
`;

/** What `TOKEN_LOCATIONS=header,cookie` adds. The pages look for the cookies by themselves and send nobody on to /login. */
const withCookies = `
GET     /                                        public             -                  -          no-store             303     303
HEAD    /                                        public             -                  -          no-store             303     303
GET     /login                                   public             -                  -          no-store             200     200
HEAD    /login                                   public             -                  -          no-store             200     200
POST    /sessions/:id/end                        authenticated      any                form+json  no-store             401     403
`;

t.test("every route has the policy that this table says", async (t) => {
	t.equal(await matrix(t, { DOCS: "off" }), expected.trim());
});

t.test("cookies add the pages and what their buttons need, and change nothing else", async (t) => {
	const all = (await matrix(t, { DOCS: "off", TOKEN_LOCATIONS: "header,cookie" })).split("\n");
	const before = expected.trim().split("\n");
	t.equal(all.filter((row) => !before.includes(row)).join("\n"), withCookies.trim());
	t.same(
		before.filter((row) => !all.includes(row)),
		[],
	);
});

/** The table of an application with these settings. */
async function matrix(t: Parameters<typeof testApp>[0], settings: Record<string, string>): Promise<string> {
	const { routes, app, login } = await withRoutes(t, settings);
	const rows: string[][] = [["method", "url", "access", "asks", "consumes", "cache", "nobody", "other site"]];
	for (const { method, url, config, schema, preHandler } of routes) {
		const { anyOf: [whole = schema?.body] = [] } = (schema?.body ?? {}) as { anyOf?: TSchema[] };
		const fields = (whole as TObject | undefined)?.required ?? [];
		const body = fields.length > 0 ? form(Object.fromEntries(fields.map((field) => [field, "x"]))) : undefined;
		const send = async (headers: Record<string, string>) =>
			app.inject({ ...body, method: method as "GET", url, headers: { ...body?.headers, ...headers } });
		const guards = [preHandler ?? []].flat().flatMap((handler) => (handler as { needs?: Needs }).needs ?? []);
		const needed = guards.flatMap(({ permissions }) => permissions ?? []).join("+") || "any";
		const kind = guards.find((needs) => needs.kind !== undefined)?.kind;
		const consumes = (schema?.consumes ?? []).map((type) =>
			type.replace("application/", "").replace("x-www-form-urlencoded", "form"),
		);
		// A session a route: some of them end it.
		const tokens = (await login("root")).json<{ access_token: string; refresh_token: string }>();
		const authorization = `Bearer ${kind === "refresh" ? tokens.refresh_token : tokens.access_token}`;
		const answers = {
			full: await send({ authorization }),
			nobody: await send({}),
			otherSite: await send({ authorization, "sec-fetch-site": "cross-site", origin: "https://evil.example" }),
		};
		rows.push([
			String(method),
			url,
			config?.access ?? "UNDECLARED",
			guards.length > 0 ? (kind ?? needed) : "-",
			consumes.join("+") || "-",
			String(answers.full.headers["cache-control"]),
			String(answers.nobody.statusCode),
			String(answers.otherSite.statusCode),
		]);
	}
	const [head = [], ...body] = rows;
	body.sort(([method = "", url = ""], [otherMethod = "", otherUrl = ""]) =>
		`${url} ${method}`.localeCompare(`${otherUrl} ${otherMethod}`, "en"),
	);
	return table([head, ...body]);
}

t.test("H06: no route takes a method that the table does not name", async (t) => {
	const { routes, app } = await withRoutes(t, { DOCS: "off" });
	const known = new Set(routes.map(({ method, url }) => `${method} ${url}`));
	for (const url of new Set(routes.map((route) => route.url)))
		for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] as const) {
			if (known.has(`${method} ${url}`)) continue;
			const answer = await app.inject({ method: method as "GET", url });
			t.match(answer.statusCode, 405, `${method} ${url}`);
		}
});

t.test("the pages under /docs are public, readable only, and the only ones that DOCS adds", async (t) => {
	const { routes } = await withRoutes(t, { DOCS: "on" });
	const without = (await withRoutes(t, { DOCS: "off" })).routes.map(({ url }) => url);
	const added = routes.filter(({ url }) => !without.includes(url));
	t.ok(added.length > 0);
	for (const { url, method, config } of added) {
		t.match(url, /^\/docs(\/|$)/);
		t.match(String(method), /^(GET|HEAD|HEAD,GET)$/, `${method} ${url}`);
		t.equal(config?.access, "public");
	}
});

/** An application and all of its routes: Fastify publishes each new instance before anything is registered in it. */
async function withRoutes(t: Parameters<typeof testApp>[0], settings: Record<string, string>) {
	const routes: RouteOptions[] = [];
	const listen = (message: unknown) => {
		const { fastify } = message as { fastify: FastifyInstance };
		fastify.addHook("onRoute", (route) => void routes.push(route));
	};
	subscribe("fastify.initialization", listen);
	const house = await testApp(t, { settings });
	unsubscribe("fastify.initialization", listen);
	return { ...house, routes };
}

/** Columns as wide as their widest cell. */
function table(rows: string[][]): string {
	const widths = (rows[0] as string[]).map((_, column) =>
		Math.max(...rows.map((row) => (row[column] as string).length)),
	);
	return rows
		.map((row) =>
			row
				.map((cell, column) => cell.padEnd(widths[column] as number))
				.join("  ")
				.trimEnd(),
		)
		.join("\n");
}
