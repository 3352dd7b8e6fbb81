/** What becomes of sessions when the account, its roles or its password change, and giving the password again. */
import { sql } from "kysely";
import t from "tap";
import { goodPassword, testApp } from "../support/app.ts";
import { storedHash } from "../support/login.ts";
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
import { until } from "../support/until.ts";

const nextPassword = "walnut harbour sixteen lanterns";

onEachStore((kind) => {
	t.test(`${kind}: accounts that change`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { services } = house;
		const { users, sessions, changes, store } = services;
		const asker = await introspector(house);

		await t.test("F11: a refresh reads the account afresh: roles, disabled, deleted", async (t) => {
			const ada = await house.addUser("ada");
			const first = await beginSession(house, ada);
			await users.setRoles(ada, ["admin"]);
			const second = await rotate(t, house, first.refresh);
			t.match(claimsOf(second.access), {
				roles: ["admin"],
				permissions: ["tokens:introspect", "users:read", "users:write"],
			});
			await users.setRoles(ada, []);
			const third = await rotate(t, house, second.refresh);
			t.strictSame(claimsOf(third.access).roles, []);
			t.strictSame(claimsOf(third.access).permissions, []);
			// Disabled without a word to anybody: the refresh itself must see it, and spend nothing.
			await store.db.updateTable("users").set({ disabled_at: 1 }).where("id", "=", ada).execute();
			t.match((await refreshWith(house, third.refresh)).json(), { statusCode: 401, code: "INVALID_TOKEN" });
			t.match(await sessions.list(ada), [{ generation: 2 }], "the generation has not moved");
			await store.db.updateTable("users").set({ disabled_at: null }).where("id", "=", ada).execute();
			const fourth = await rotate(t, house, third.refresh);
			await users.delete({ ...(await users.getByName("ada")) });
			t.equal((await refreshWith(house, fourth.refresh)).statusCode, 401);
		});

		await t.test(
			"L03: a disabled account cannot log in, refresh or use a live token; enabled again, it logs in anew",
			async (t) => {
				const bob = await house.addUser("bob");
				const login = await beginSession(house, bob);
				const other = await beginSession(house, bob);
				await users.setDisabled(bob, true);
				t.equal((await house.login("bob")).statusCode, 401);
				for (const pair of [login, other]) t.same(await openDoors(house, asker, pair), [], "at once in this process");
				for (const url of ["/logout", "/logout/all", "/reauthenticate"])
					t.equal(
						(await post(house, url, url === "/reauthenticate" ? { password: goodPassword } : {}, login.access))
							.statusCode,
						401,
					);
				await users.setDisabled(bob, false);
				await changes.poll();
				for (const pair of [login, other]) t.same(await openDoors(house, asker, pair), [], "ended stays ended");
				t.equal((await house.login("bob")).statusCode, 200);
			},
		);

		await t.test("L03: a deleted account has nothing left", async (t) => {
			const carl = await house.addUser("carl");
			const pair = await beginSession(house, carl);
			await users.delete(await users.getByName("carl"));
			await changes.poll();
			t.same(await openDoors(house, asker, pair), []);
			t.equal((await house.login("carl")).statusCode, 401);
			t.strictSame(await sessions.list(carl), []);
			t.not(await house.addUser("carl"), carl, "its id is nobody's");
			t.same(await openDoors(house, asker, pair), [], "the name's next owner does not inherit the tokens");
		});

		await t.test("L14: a new password ends the other sessions, access and refresh, and only those", async (t) => {
			const dora = await house.addUser("dora");
			const own = await beginSession(house, dora);
			const others = [await beginSession(house, dora), await beginSession(house, dora)];
			const change = (current: string) =>
				post(house, "/password", { current_password: current, new_password: nextPassword }, own.access);
			t.match((await change("wrong")).json(), { statusCode: 403, code: "INVALID_CURRENT_PASSWORD" });
			t.equal((await post(house, "/password", { new_password: nextPassword }, own.access)).statusCode, 400);
			t.equal((await sessions.list(dora)).length, 3, "nothing has ended");
			t.equal((await change(goodPassword)).statusCode, 204);
			for (const pair of others) t.same(await openDoors(house, asker, pair), []);
			t.equal((await openDoors(house, asker, own)).length, 6, "its own session goes on");
			t.equal((await sessions.list(dora)).length, 1);
		});

		await t.test("a password that an administrator sets ends all sessions", async (t) => {
			const emmy = await house.addUser("emmy");
			const pair = await beginSession(house, emmy);
			await services.credentials.reset(emmy, nextPassword);
			t.same(await openDoors(house, asker, pair), []);
		});

		await t.test(
			"the password given again: a fresh token of the same session, which a refresh does not keep fresh",
			async (t) => {
				const login = await beginSession(house, await house.addUser("finn"));
				await passTime(house, 100);
				const refreshed = await rotate(t, house, login.refresh);
				const before = claimsOf(refreshed.access) as { auth_time: number; sid: string };
				t.equal(claimsOf(refreshed.access).fresh, false);
				t.match((await post(house, "/reauthenticate", { password: "wrong" }, refreshed.access)).json(), {
					statusCode: 403,
					code: "INVALID_CURRENT_PASSWORD",
				});
				t.equal((await house.get("/protected", refreshed.access)).statusCode, 200, "the token stays good");
				for (const fields of [{}, { password: goodPassword, username: "root" }] as Record<string, string>[])
					t.equal((await post(house, "/reauthenticate", fields, refreshed.access)).statusCode, 400);
				t.equal((await post(house, "/reauthenticate", { password: goodPassword })).statusCode, 401);
				t.equal((await post(house, "/reauthenticate", { password: goodPassword }, refreshed.refresh)).statusCode, 401);
				const answer = await post(house, "/reauthenticate", { password: goodPassword }, refreshed.access);
				t.equal(answer.statusCode, 200);
				t.notOk("refresh_token" in answer.json(), "the refresh token stays the one it was");
				const again = claimsOf(pairOf(answer).access) as { auth_time: number };
				t.match(again, { fresh: true, sid: before.sid });
				t.ok(again.auth_time >= before.auth_time + 100, "from now on");
				const next = await rotate(t, house, refreshed.refresh);
				t.match(claimsOf(next.access), { fresh: false, auth_time: again.auth_time, sid: before.sid });
				const ended = await post(house, "/logout", {}, next.access);
				t.equal(ended.statusCode, 204);
				t.equal((await post(house, "/reauthenticate", { password: goodPassword }, next.access)).statusCode, 401);
			},
		);

		if (kind === "postgres")
			for (const change of ["password", "disabled", "deleted"] as const)
				await t.test(
					`L20: a login that meets a change (${change}) half way through leaves no session behind it`,
					async (t) => {
						const id = await house.addUser(`meets-${change}`);
						const written = Promise.withResolvers<void>();
						const gate = Promise.withResolvers<void>();
						// What changing a password does, held just before its commit: a session that begins now is one it cannot see.
						const changing = store.transaction(async (transaction) => {
							const hash = await storedHash(house, "root");
							const row = transaction.updateTable("users").where("id", "=", id);
							if (change === "password") await row.set({ password_hash: `${hash.slice(0, -1)}x` }).execute();
							if (change === "disabled") await row.set({ disabled_at: house.clock.now() }).execute();
							if (change === "deleted") await transaction.deleteFrom("users").where("id", "=", id).execute();
							await transaction.deleteFrom("sessions").where("user_id", "=", id).execute();
							written.resolve();
							await gate.promise;
						});
						await written.promise;
						const login = house.login(`meets-${change}`);
						await until("the login waits for a lock", async () => {
							const { rows } = await sql`select 1 from pg_locks where not granted`.execute(store.db);
							return rows.length > 0;
						});
						gate.resolve();
						await changing;
						t.match((await login).json(), { statusCode: 401, code: "INVALID_CREDENTIALS" });
						t.strictSame(await sessions.list(id), []);
					},
				);
	});
});
