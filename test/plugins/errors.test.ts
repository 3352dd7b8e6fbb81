/** What leaves on a refusal: row H07. What stays in the log is in log-lines.test.ts and log-secrets.test.ts. */
import t from "tap";
import { goodPassword, testApp } from "../support/app.ts";

/** Words that only an answer with inner details would hold: stacks, SQL, paths, packages, versions. */
const inner =
	/\bat \S+ \(|node:|node_modules|\.[tj]s\b|select |insert |update |sqlite|postgres|kysely|fastify|FST_|ajv|pino|\/(src|tmp|home|root|work)\/|\d+\.\d+\.\d+/i;

t.test("H07: errors are generic, and carry the request id that the log has", async (t) => {
	const house = await testApp(t, {
		settings: { HASH_COST: "10", HASH_THREADS: "1", HASH_MAX_WAIT_SECONDS: "1", REVOCATION_MAX_STALENESS_SECONDS: "0" },
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
		services.store.news = async () => {
			throw new Error("connect ECONNREFUSED 127.0.0.1:5432");
		};
		await services.changes.poll();
		await check(503, "STORE_UNAVAILABLE", () => get("/protected", token));
	});
});
