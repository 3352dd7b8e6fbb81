/** Who is let in: the Authorization header, the challenge, guards, and accounts that were disabled or deleted. */
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import t from "tap";
import type { App } from "../../src/app.ts";
import { doors, encode, expectAccepted, withAccount } from "../support/forgery.ts";

/** A route for each kind of guard, and one that asks who is there without having one. */
const extend = (app: App) => {
	app.get("/naked", { config: { access: "public" } }, async ({ principal }) => principal.id);
	app.get(
		"/write",
		{ config: { access: "users:write" }, preHandler: app.requires({ permissions: ["users:write"] }) },
		async ({ principal }) => principal,
	);
	app.get(
		"/two",
		{ config: { access: "users:read" }, preHandler: app.requires({ permissions: ["users:read", "users:none"] }) },
		async () => "never",
	);
};

const house = await withAccount(t, {}, { extend });

t.test("B01: the challenge is bare without a token, and says what was wrong with one", async (t) => {
	const { app, get, mint, claims, id } = house;
	const cases = [
		{
			name: "no header",
			url: "/protected",
			token: undefined,
			status: 401,
			code: "AUTHENTICATION_REQUIRED",
			says: "Bearer",
		},
		{
			name: "a bad token",
			url: "/protected",
			token: "x",
			status: 401,
			code: "INVALID_TOKEN",
			says: 'Bearer error="invalid_token"',
		},
		{
			name: "too little",
			url: "/write",
			token: mint(claims(id)),
			status: 403,
			code: "INSUFFICIENT_PERMISSIONS",
			says: 'Bearer error="insufficient_scope"',
		},
	];
	for (const { name, url, token, status, code, says } of cases) {
		const answer = await get(url, token);
		t.match(answer, { statusCode: status, headers: { "www-authenticate": says, "cache-control": "no-store" } }, name);
		t.equal(answer.headers["www-authenticate"], says, `${name}: that challenge and no more`);
		t.equal(answer.json().code, code);
	}
	for (const method of ["HEAD", "GET"] as const)
		for (const url of [...doors, "/write"])
			t.equal((await app.inject({ method, url })).statusCode, 401, `${method} ${url} is no way around`);
	t.equal((await get("/protected", mint(claims(id)))).headers["www-authenticate"], undefined, "none where it is good");
});

t.test("B02: a token anywhere but in the Authorization header is not accepted, and not logged", async (t) => {
	const { app, mint, good, rawLog } = house;
	const token = mint(good);
	for (const door of doors)
		for (const request of [
			{ url: `${door}?access_token=${token}` },
			{ url: `${door}?token=${token}` },
			{ url: `${door}?authorization=Bearer%20${token}` },
			{ url: door, headers: { cookie: `access_token=${token}; __Host-access=${token}; token=${token}` } },
			{ url: door, headers: { "x-access-token": token, "proxy-authorization": `Bearer ${token}` } },
			{ url: door, headers: { "x-forwarded-authorization": `Bearer ${token}`, authentication: `Bearer ${token}` } },
		]) {
			const answer = await app.inject({ method: "GET", ...request });
			t.equal(answer.statusCode, 401, JSON.stringify(request).slice(0, 60));
			t.equal(answer.headers["www-authenticate"], "Bearer", "as if none had come");
		}
	await app.inject({ method: "GET", url: `/nowhere?access_token=${token}` });
	for (const part of token.split(".")) t.notOk(rawLog().includes(part), "no part of it is in the log");
});

t.test("B04: the scheme may have any case; a malformed header is 401, never a fault", async (t) => {
	const { app, mint, good, rawLog } = house;
	const token = mint(good);
	const before = rawLog().length;
	for (const scheme of ["Bearer", "bearer", "BEARER", "bEaReR"])
		for (const url of doors)
			t.equal((await app.inject({ url, headers: { authorization: `${scheme} ${token}` } })).statusCode, 200, scheme);
	const bare = "Bearer";
	const invalid = 'Bearer error="invalid_token"';
	const cases: [authorization: string, challenge: string][] = [
		["", bare],
		[" ", bare],
		[token, bare],
		[`Basic ${encode("ada:secret")}`, bare],
		["Basic", bare],
		[`Digest username="ada"`, bare],
		[`Bearer${token}`, bare],
		[`Bearer:${token}`, bare],
		[`Bearer\t${token}`, bare],
		[`Bearer\u00a0${token}`, bare],
		[`"Bearer" ${token}`, bare],
		[`Token ${token}`, bare],
		[`Basic x, Bearer ${token}`, bare],
		["Bearer", invalid],
		["Bearer ", invalid],
		["bearer ", invalid],
		["Bearer  ", invalid],
		[`Bearer  ${token}`, invalid],
		[`bearer  ${token}`, invalid],
		[`Bearer ${token} ${token}`, invalid],
		[`bearer ${token} ${token}`, invalid],
		[`Bearer ${token}, Bearer ${token}`, invalid],
		[`Bearer ${token},${token}`, invalid],
		[`Bearer "${token}"`, invalid],
		[`Bearer <${token}>`, invalid],
		[`Bearer ${token};`, invalid],
		[`Bearer Bearer ${token}`, invalid],
		[`Bearer ${"a".repeat(20_000)}`, invalid],
		["Bearer é", invalid],
		[`Bearer ${token}é`, invalid],
		["Bearer null", invalid],
		["Bearer undefined", invalid],
		["Bearer [object Object]", invalid],
	];
	for (const [authorization, challenge] of cases)
		for (const url of doors) {
			const answer = await app.inject({ url, headers: { authorization } });
			const label = JSON.stringify(authorization.slice(0, 30));
			t.same([answer.statusCode, answer.headers["www-authenticate"]], [401, challenge], `${url}: ${label}`);
		}
	t.notMatch(rawLog().slice(before), /"level":[56]0/, "nothing was a fault of the service");
});

t.test(
	"B04, B05: on a real socket: two Authorization headers, bytes that are no text, and 20 KB are refused",
	async (t) => {
		const { app, mint } = house;
		const good = `Authorization: Bearer ${mint(house.good)}`;
		const bad = "Authorization: Bearer x";
		await app.listen({ host: "127.0.0.1", port: 0 });
		const { port } = app.server.address() as AddressInfo;
		const send = async (...headers: string[]) => {
			const socket = connect(port, "127.0.0.1").setEncoding("utf8");
			const lines = ["GET /protected HTTP/1.1", "Host: localhost", "Connection: close", ...headers, "", ""];
			socket.write(Buffer.from(lines.join("\r\n"), "latin1"));
			let answer = "";
			socket.on("data", (text) => {
				answer += text;
			});
			await once(socket, "close");
			return answer;
		};
		t.match(await send(good), /^HTTP\/1\.1 200 .*Protected route for user/s, "one header, the control");
		for (const [name, ...headers] of [
			["good and bad", good, bad],
			["bad and good", bad, good],
			["the same twice", good, good],
			["in another case", good, bad.replace("Authorization", "AUTHORIZATION")],
			["with another header between", bad, "X-Other: 1", good],
			["with an empty one", good, "Authorization:"],
			["Basic and Bearer", "Authorization: Basic x", good],
		] as const) {
			const answer = await send(...headers);
			t.match(answer, /^HTTP\/1\.1 400 .*"code":"MALFORMED_REQUEST"/s, name);
			t.notMatch(answer, /Protected route/, `${name}: nobody got in`);
		}
		t.match(await send("Authorization: Bearer \xff\xfe"), /^HTTP\/1\.1 401 .*invalid_token/s, "bytes outside of ASCII");
		t.match(
			await send(`Authorization: Bearer ${"a".repeat(20_000)}`),
			/^HTTP\/1\.1 431 .*"HEADERS_TOO_LARGE"/s,
			"20 KB",
		);
	},
);

t.test("a guard with permissions lets in who has all of them, and asks at every request", async (t) => {
	const { get, mint, good } = house;
	const answer = (url: string, permissions: string[]) => get(url, mint({ ...good, permissions }));
	t.equal((await answer("/write", ["users:write"])).statusCode, 200);
	t.equal((await answer("/write", ["a", "users:write", "z"])).statusCode, 200);
	for (const permissions of [[], ["users:read"], ["users:*"], ["*"], ["USERS:WRITE"], ["users:write "], ["users"]])
		t.equal((await answer("/write", permissions)).statusCode, 403, `${permissions} is not enough`);
	for (const permissions of [["users:read"], ["users:none"]])
		t.equal((await answer("/two", permissions)).statusCode, 403, `${permissions} is one of two`);
	t.equal((await answer("/two", ["users:none", "users:read"])).statusCode, 200);
	const token = mint(good);
	t.equal((await get("/protected", token)).statusCode, 200, "the token is remembered");
	t.equal((await get("/write", token)).statusCode, 403, "and still asked for its permissions");
	t.equal((await get("/naked", token)).statusCode, 500);
});

t.test("request.principal throws on a route without a guard, even when a good token came along", async (t) => {
	const answer = await house.get("/naked", house.mint(house.good));
	t.equal(answer.statusCode, 500);
	t.same(answer.json(), {
		statusCode: 500,
		code: "INTERNAL",
		error: "Internal Server Error",
		message: "Something went wrong",
	});
	t.match(house.logged.at(-1), {
		level: 50,
		code: "INTERNAL",
		route: "/naked",
		err: { message: /request\.principal needs/ },
	});
	await expectAccepted(t, house, house.mint(house.good), house.id, "elsewhere it is good");
});
