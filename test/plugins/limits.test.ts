/** What a request may look like: rows H06, H11 and H17, as far as `inject` reaches; sockets are in test/e2e. */
import t from "tap";
import { form, goodPassword, testApp } from "../support/app.ts";

t.test("limits", async (t) => {
	const { app, get, tokenFor } = await testApp(t, {
		extend: (app) => {
			app.get("/probe/:name", { config: { access: "public" } }, async ({ params, query, headers }) => ({
				polluted: ["x", "polluted", "isAdmin"].filter((name) => name in {}),
				names: [Object.keys(params as object), Object.keys(query as object)],
				prototype: Object.getPrototypeOf(headers) === Object.prototype || Object.getPrototypeOf(headers) === null,
			}));
		},
	});
	const token = await tokenFor("root");

	await t.test("H06: only the methods that a route lists", async (t) => {
		const routes: Record<string, string[]> = {
			"/login": ["POST"],
			"/password": ["POST"],
			"/protected": ["GET", "HEAD"],
			"/me": ["GET", "HEAD"],
			"/livez": ["GET", "HEAD"],
			"/.well-known/jwks.json": ["GET", "HEAD"],
		};
		for (const [url, methods] of Object.entries(routes))
			for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]) {
				if (methods.includes(method)) continue;
				const headers = { authorization: `Bearer ${token}` };
				const answer = await app.inject({ method: method as "GET", url, headers });
				t.equal(answer.statusCode, 405, `${method} ${url}`);
				t.equal(answer.headers.allow, methods.join(", "), `${method} ${url}`);
			}
		t.equal((await app.inject({ method: "PATCH", url: "/nothing" })).statusCode, 404);
	});

	await t.test("H06: a body does not change what a path says about a method, or about itself", async (t) => {
		const cases: [method: "POST" | "PUT" | "PATCH" | "DELETE", url: string, statusCode: number, allow?: string][] = [
			["POST", "/protected", 405, "GET, HEAD"],
			["PUT", "/me", 405, "GET, HEAD"],
			["DELETE", "/livez", 405, "GET, HEAD"],
			["POST", "/.well-known/jwks.json", 405, "GET, HEAD"],
			["PUT", "/login", 405, "POST"],
			["PATCH", "/login?a=b", 405, "POST"],
			["DELETE", "/password", 405, "POST"],
			["POST", "/nothing", 404],
			["PUT", "/login/nothing", 404],
		];
		const { payload } = form({ username: "root", password: goodPassword });
		const bodies: [type: string | undefined, payload: string][] = [
			["application/x-www-form-urlencoded", payload],
			["application/json", "{}"],
			["text/plain", "text"],
			["multipart/form-data; boundary=x", "--x--"],
			["application/octet-stream", "a".repeat(20_000)],
			[undefined, "x"],
			[undefined, ""],
		];
		for (const [method, url, statusCode, allow] of cases)
			for (const [type, payload] of bodies) {
				const headers = type === undefined ? {} : { "content-type": type };
				const answer = await app.inject({ method, url, headers, payload });
				const what = `${method} ${url} with ${type}, ${payload.length} bytes`;
				t.match(answer.json(), { statusCode, code: allow ? "METHOD_NOT_ALLOWED" : "NOT_FOUND" }, what);
				t.equal(answer.headers.allow, allow, what);
			}
	});

	await t.test("H06: no header or field overrides the method", async (t) => {
		const { payload, headers } = form({ username: "root", password: goodPassword });
		for (const name of ["x-http-method-override", "x-http-method", "x-method-override"]) {
			const asGet = await app.inject({ method: "GET", url: "/login", headers: { [name]: "POST" } });
			t.equal(asGet.statusCode, 405, name);
			const asPost = await app.inject({
				method: "POST",
				url: "/login",
				payload,
				headers: { ...headers, [name]: "DELETE" },
			});
			t.equal(asPost.statusCode, 200, `${name} is not read`);
		}
		const inBody = form({ username: "root", password: goodPassword, _method: "DELETE" });
		t.equal((await app.inject({ method: "POST", url: "/login", ...inBody })).statusCode, 400);
		t.equal((await app.inject({ method: "POST", url: "/login?_method=DELETE", payload, headers })).statusCode, 400);
	});

	await t.test("H11: names from the prototype do no harm in headers, cookies, queries and paths", async (t) => {
		const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__defineGetter__"];
		for (const name of names) {
			const answer = await app.inject({
				url: `/probe/${name}?${name}=1&${name}[x]=1&${name}.x=1&constructor[prototype][x]=1&__proto__[x]=1`,
				headers: { [name]: "1", cookie: `${name}=1; __proto__=x; constructor=x`, "x-request-id": name },
			});
			t.equal(answer.statusCode, 200, name);
			t.match(answer.json(), { polluted: [] }, name);
			for (const url of [`/${name}`, `/me/${name}`, `/.well-known/${name}`, `/${name}/${name}`])
				t.equal((await get(url, token)).statusCode, 404, url);
			t.equal((await app.inject({ url: "/me", headers: { authorization: name } })).statusCode, 401);
			t.equal(
				(await app.inject({ method: "POST", url: "/login", headers: { "content-type": name }, payload: "{}" }))
					.statusCode,
				415,
			);
		}
		t.equal((await get("/me", token)).statusCode, 200);
		t.notOk("x" in {});
	});

	await t.test("H17: a broken path is refused as such", async (t) => {
		const paths: [string, number][] = [
			["/%zz", 400],
			["/%", 400],
			["/%c0%af", 400],
			["/%ff", 400],
			["/me%", 400],
			["/probe/%zz", 400],
			["/%00", 404],
			["/me%00", 404],
			["/me/", 404],
			["//me", 404],
			["/me;x=y", 404],
			["/ME", 404],
			[`/${"a".repeat(10_240)}`, 404],
			[`/probe/${"a".repeat(101)}`, 414],
		];
		for (const [path, statusCode] of paths) {
			const answer = await get(path, token);
			t.equal(answer.statusCode, statusCode, path.slice(0, 20));
			t.strictSame(Object.keys(answer.json()).sort(), ["code", "error", "message", "statusCode"]);
			t.notOk(answer.body.includes(path.slice(1, 40)), "the path is not repeated");
		}
	});
});
