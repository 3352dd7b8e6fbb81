/** What a refresh token is worth: once, a moment longer for the same successor, and then it ends its session. */
import t from "tap";
import { deriveKey } from "../../src/secret.ts";
import { createRefreshTokens } from "../../src/sessions/refresh-token.ts";
import { testApp } from "../support/app.ts";
import {
	beginSession,
	claimsOf,
	introspector,
	openDoors,
	pairOf,
	passTime,
	post,
	refreshWith,
	rotate,
} from "../support/sessions.ts";
import { onEachStore } from "../support/stores.ts";

const reuses = (logged: Record<string, unknown>[]) => logged.filter(({ event }) => event === "refresh_token_reuse");

onEachStore((kind) => {
	t.test(`${kind}: refresh`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { services } = house;
		const ada = await house.addUser("ada");
		const asker = await introspector(house);

		await t.test("a login's refresh token gives the next pair, and the session goes on", async (t) => {
			const login = await house.login("ada");
			const { expires_in, refresh_expires_in } = login.json();
			t.equal(expires_in, 900);
			// The test's clock stands still, PostgreSQL's does not.
			t.ok(Math.abs(refresh_expires_in - 30 * 86_400) < 60, `${refresh_expires_in} seconds`);
			const first = pairOf(login);
			const answer = await refreshWith(house, first.refresh);
			t.match(answer, { statusCode: 200, headers: { "cache-control": "no-store" } });
			t.match(answer.json(), { token_type: "Bearer", expires_in: 900 });
			t.not(pairOf(answer).refresh, first.refresh);
			const [before, after] = [claimsOf(first.access), claimsOf(pairOf(answer).access)];
			t.match(after, { sid: before.sid as string, sub: ada, auth_time: before.auth_time as number, fresh: false });
			t.equal(before.fresh, true);
			t.not(after.jti, before.jti);
			t.equal((await house.get("/protected", first.access)).statusCode, 200, "the earlier access token is good");
		});

		await t.test("F01: in a chain of 100 every token is new, and every earlier one is spent", async (t) => {
			const { id, refresh } = await beginSession(house, ada);
			const chain = [refresh];
			for (let turn = 0; turn < 100; turn++) chain.push(pairOf(await refreshWith(house, chain.at(-1) ?? "")).refresh);
			t.equal(new Set(chain).size, 101);
			t.match(await services.sessions.find(id), { session: { generation: 100 } });
			const spent = chain.slice(0, -2);
			for (const token of spent) t.equal(await services.refresh.look(token), undefined);
			t.match(await services.refresh.look(chain.at(-1) ?? ""), { id }, "asking has ended nothing");
			t.equal((await refreshWith(house, spent.at(-1) ?? "")).statusCode, 401);
			t.equal((await refreshWith(house, chain.at(-1) ?? "")).statusCode, 401, "and a spent one ends the chain");
		});

		await t.test("F02: a token used again after the grace time ends the session everywhere", async (t) => {
			const first = await beginSession(house, ada);
			const second = await rotate(t, house, first.refresh);
			await passTime(house, 12);
			const before = reuses(house.logged).length;
			const answer = await refreshWith(house, first.refresh);
			t.match(answer.json(), { statusCode: 401, code: "INVALID_TOKEN" });
			t.equal(answer.headers["set-cookie"], undefined);
			t.same(await openDoors(house, asker, second), []);
			t.same(await openDoors(house, asker, first), []);
			const found = reuses(house.logged).slice(before);
			t.match(found, [{ level: 40, session: first.id, user: ada, generation: 1, given: 0 }]);
			t.equal(found.length, 1, "it is recorded once");
			t.notOk(house.rawLog().includes(first.refresh), "without the token");
		});

		await t.test(
			"within the grace time the predecessor gets the same successor, and no generation is spent",
			async (t) => {
				const first = await beginSession(house, ada);
				const { refresh } = await rotate(t, house, first.refresh);
				await passTime(house, 8);
				for (let turn = 0; turn < 3; turn++) t.equal((await rotate(t, house, first.refresh)).refresh, refresh);
				t.match(await services.sessions.find(first.id), { session: { generation: 1 } });
				t.not((await rotate(t, house, refresh)).refresh, refresh, "which works");
			},
		);

		await t.test("F05: only the immediate predecessor has grace", async (t) => {
			const first = await beginSession(house, ada);
			const second = await rotate(t, house, first.refresh);
			const third = await rotate(t, house, second.refresh);
			t.equal((await refreshWith(house, first.refresh)).statusCode, 401);
			t.same(await openDoors(house, asker, third), [], "the session has ended");
		});

		await t.test("F06: theft ends both sides: the thief's successor dies with the owner's next use", async (t) => {
			const owner = await beginSession(house, ada);
			const thief = await rotate(t, house, owner.refresh, "the thief was first");
			await passTime(house, 12);
			t.equal((await refreshWith(house, owner.refresh)).statusCode, 401);
			t.same(await openDoors(house, asker, thief), []);
			t.same(await openDoors(house, asker, owner), []);
		});

		await t.test("a store that was rolled back: a token above the row's generation ends the session", async (t) => {
			const first = await beginSession(house, ada);
			const second = await rotate(t, house, first.refresh);
			const third = await rotate(t, house, second.refresh);
			await services.store.db.updateTable("sessions").set({ generation: 1 }).where("id", "=", first.id).execute();
			const before = reuses(house.logged).length;
			t.equal((await refreshWith(house, third.refresh)).statusCode, 401);
			t.match(reuses(house.logged).slice(before), [{ session: first.id, generation: 1, given: 2 }]);
			t.same(await openDoors(house, asker, second), []);
		});

		await t.test("F12: no field widens anything", async (t) => {
			const { id, refresh } = await beginSession(house, ada);
			for (const extra of ["scope", "sub", "client_id", "username", "roles", "grant_type", "sid", "__proto__"]) {
				const answer = await post(house, "/refresh", { refresh_token: refresh, [extra]: "root" });
				t.match(answer.json(), { statusCode: 400, code: "VALIDATION_FAILED" }, extra);
			}
			t.equal((await post(house, "/refresh?scope=admin", { refresh_token: refresh })).statusCode, 400);
			const twice = { payload: `refresh_token=${refresh}&refresh_token=${refresh}` };
			const headers = { "content-type": "application/x-www-form-urlencoded" };
			t.equal((await house.app.inject({ method: "POST", url: "/refresh", headers, ...twice })).statusCode, 400);
			t.match(await services.sessions.find(id), { session: { generation: 0 } }, "and nothing was spent");
			t.match(claimsOf((await rotate(t, house, refresh)).access), { sub: ada, roles: ["user"], permissions: [] });
		});

		await t.test("T15: kinds do not mix at /refresh, and nothing at all is 401 with a bare challenge", async (t) => {
			const { id, access, refresh } = await beginSession(house, ada);
			for (const given of [{ refresh_token: access }, { refresh_token: "" }, { refresh_token: "x".repeat(9000) }])
				t.equal((await post(house, "/refresh", given)).statusCode, 401);
			t.equal((await post(house, "/refresh", {}, access)).statusCode, 401, "an access token in the header");
			t.equal((await house.get("/protected", refresh)).statusCode, 401);
			t.equal((await post(house, "/refresh", {})).headers["www-authenticate"], "Bearer");
			t.equal((await post(house, "/refresh", { refresh_token: refresh }, refresh)).statusCode, 400, "two credentials");
			t.match(await services.sessions.find(id), { session: { generation: 0 } });
		});
	});

	t.test(`${kind}: without a grace time every token is good once`, async (t) => {
		const house = await testApp(t, { store: kind, settings: { REFRESH_GRACE_SECONDS: "0" } });
		const ada = await house.addUser("ada");
		const asker = await introspector(house);
		const first = await beginSession(house, ada);
		const second = await rotate(t, house, first.refresh);
		t.equal((await refreshWith(house, first.refresh)).statusCode, 401);
		t.same(await openDoors(house, asker, second), []);
		const raced = await beginSession(house, ada);
		const answers = await Promise.all([1, 2, 3].map(() => refreshWith(house, raced.refresh)));
		t.same(answers.map(({ statusCode }) => statusCode).sort(), [200, 401, 401], "also at the same time");
		t.strictSame(await house.services.sessions.list(ada), []);
	});

	t.test(`${kind}: a session outlives a change of SECRET, and its next token is under the new one`, async (t) => {
		const old = "YW4gZWFybGllciBvbmUgb2YgdGhpcyB0ZXN0LCBoaWRl/7kQ";
		const house = await testApp(t, { store: kind });
		const ada = await house.addUser("ada");
		const { make } = createRefreshTokens([deriveKey(old, "refresh tokens")]);
		const { id } = await beginSession(house, ada);
		const foreign = make({ sessionId: id, generation: 0 });
		t.equal((await refreshWith(house, foreign)).statusCode, 401, "a token of another secret");
		t.ok(await house.services.sessions.find(id), "is a forgery, and ends nothing");
		t.equal((await refreshWith(house, make({ sessionId: id, generation: 7 }))).statusCode, 401);
		t.ok(await house.services.sessions.find(id), "whatever generation it claims");

		const location = { databaseUrl: house.services.config.databaseUrl, dataDir: house.services.config.dataDir };
		const renewed = await testApp(t, { store: kind, location, settings: { SECRET_PREVIOUS: old } });
		const next = await rotate(t, renewed, foreign, "SECRET_PREVIOUS verifies");
		const [session] = await house.services.sessions.list(ada);
		t.equal(session && house.services.refresh.tokenOf(session), next.refresh, "the successor is under SECRET");
		t.equal((await rotate(t, renewed, foreign)).refresh, next.refresh, "also the predecessor's, within the grace time");
		await rotate(t, house, next.refresh, "and works where only SECRET is known");
	});
});
