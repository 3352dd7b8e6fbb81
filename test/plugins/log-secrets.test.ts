/** What the log must never hold, and no answer either: rows G02, G03 and L28. */
import t from "tap";
import { form, testApp } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

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
						form({ current_password: `${password} thistle meridian`, new_password: password.slice(0, 12) }).payload,
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
