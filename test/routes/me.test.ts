/** `GET /me` on both stores: what it says, and rows H16 and L03. */
import t from "tap";
import { testApp } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

onEachStore((kind) => {
	t.test(`${kind}: H16: /me says who the token says you are, and nothing else`, async (t) => {
		const { get, tokenFor, clock, services, addUser } = await testApp(t, {
			store: kind,
			settings: { ACCESS_TOKEN_SECONDS: "60" },
		});
		const id = await addUser("ada");
		const now = clock.now();
		const token = await tokenFor("ada");
		const answer = await get("/me", token);
		t.equal(answer.statusCode, 200);
		t.equal(answer.headers["content-type"], "application/json; charset=utf-8");
		t.strictSame(answer.json(), {
			id,
			username: "ada",
			roles: ["user"],
			permissions: [],
			issued_at: now,
			expires_at: now + 60,
		});
		const root = await get("/me", await tokenFor("root"));
		t.match(root.json(), { username: "root", roles: ["admin"] });
		t.strictSame([...root.json().permissions].sort(), ["tokens:introspect", "users:read", "users:write"]);

		await services.users.setRoles(id, ["admin"]);
		t.match((await get("/me", token)).json(), { roles: ["user"], permissions: [] }, "new roles wait for a new token");
		t.match((await get("/me", await tokenFor("ada"))).json(), { roles: ["admin"] });

		const anonymous = await get("/me");
		t.match(anonymous.json(), { statusCode: 401, code: "AUTHENTICATION_REQUIRED" });
		t.equal(anonymous.headers["www-authenticate"], "Bearer");
	});

	t.test(
		`${kind}: L03: the token of an account that is gone names nobody, even before this process has heard`,
		async (t) => {
			const { get, mint, claims } = await testApp(t, { store: kind });
			const answer = await get("/me", mint(claims("never-was-here")));
			t.match(answer.json(), { statusCode: 401, code: "INVALID_TOKEN" });
			t.equal(answer.headers["www-authenticate"], 'Bearer error="invalid_token"');
		},
	);
});
