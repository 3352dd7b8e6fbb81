/** How sessions begin: whole or not at all, with the account as it is, and not without end. Also a refresh that fails. */
import t from "tap";
import { errors } from "../../src/errors.ts";
import { randomId } from "../../src/random.ts";
import { mostSessions } from "../../src/sessions/ending.ts";
import type { Store } from "../../src/store/store.ts";
import { aDevice, form, type TestApp, testApp } from "../support/app.ts";
import {
	beginRow,
	beginSession,
	claimsOf,
	introspector,
	openDoors,
	pairOf,
	passTime,
	refreshWith,
	rotate,
} from "../support/sessions.ts";
import { onEachStore, versionsOf } from "../support/stores.ts";

/** Rows of sessions that were last refreshed one second after the other, the first one longest ago. */
async function fill({ db }: Store, userId: string, count: number, refreshedAt: (index: number) => number, end: number) {
	const ids = Array.from({ length: count }, () => randomId());
	const times = {
		created_at: 1,
		authenticated_at: 1,
		absolute_expires_at: end,
		access_until: end,
		expires_at: end,
		purge_at: end,
	};
	const rows = ids.map((id, index) => ({
		...{ id, user_id: userId, generation: 0, user_agent: null, address: "", ...times },
		refreshed_at: refreshedAt(index),
	}));
	while (rows.length > 0) await db.insertInto("sessions").values(rows.splice(0, 500)).execute();
	return ids;
}

/** More roles than a token can hold, or only one. */
async function giveRoles({ services }: TestApp, userId: string, count: number): Promise<void> {
	const names = Array.from({ length: count }, (_, index) => `a-role-with-quite-a-long-name-${index}`);
	await services.store.db
		.insertInto("roles")
		.values(names.map((name) => ({ name })))
		.onConflict((conflict) => conflict.doNothing())
		.execute();
	await services.users.setRoles(userId, names);
}

onEachStore((kind) => {
	t.test(`${kind}: sessions that begin`, async (t) => {
		let broken = false;
		const house = await testApp(t, {
			store: kind,
			extend: (app) =>
				app.addClaims(() => {
					if (broken) throw new Error("the author's own store is away");
					return {};
				}),
		});
		const { sessions, revocations, store, users } = house.services;
		const ada = await house.addUser("ada");

		await t.test(`at most ${mostSessions} an account`, async (t) => {
			const bob = await beginSession(house, await house.addUser("bob"));
			const now = await store.now();
			const version = async () => (await versionsOf(store)).revocations;
			const times = { issuedAt: now, authenticatedAt: now };
			const refused = (sessionId: string) => revocations.has({ id: ada, sessionId, tokenId: "none", ...times });

			const over = await fill(store, ada, 5, () => now - 5000, now - 10);
			const ids = await fill(store, ada, mostSessions - 1, (index) => now - 4000 + index, now + 5000);
			const before = await version();
			await beginRow(house.services, ada);
			t.equal(await version(), before, "as long as there is room nothing ends, and nobody else hears of it");
			t.equal((await sessions.list(ada)).length, mostSessions);

			const login = await beginSession(house, ada);
			const listed = (await sessions.list(ada)).map(({ id }) => id);
			t.equal(listed.length, mostSessions);
			t.ok(listed.includes(claimsOf(login.access).sid as string), "the new one lives");
			const [first = "", second = ""] = ids;
			t.notOk(listed.includes(first), "the least recently used one has ended");
			t.ok(listed.includes(second) && !refused(second), "no other one");
			t.ok(refused(first), "its tokens are refused here at once");
			t.ok((await version()) > before, "and elsewhere");
			const rows = await store.db.selectFrom("revocations").select("id").execute();
			t.same(rows, [{ id: first }]);
			for (const id of over) t.notOk(refused(id), "one that was over does not count");
			t.equal((await house.get("/protected", bob.access)).statusCode, 200, "nor another account's");

			// Several logins at once may not see each other, but the next one makes up for it.
			await Promise.all(Array.from({ length: 6 }, () => beginRow(house.services, ada)));
			t.ok((await sessions.list(ada)).length <= mostSessions + 6);
			await beginRow(house.services, ada);
			t.equal((await sessions.list(ada)).length, mostSessions);
			const used = (await sessions.list(ada)).filter(({ refreshedAt }) => refreshedAt >= now);
			t.equal(used.length, 9, "whatever came in the same second stays");
			await sessions.endAll(ada);
			t.strictSame(await sessions.list(ada), []);
		});

		await t.test("none begins with another hash than the account has, or without one", async (t) => {
			const { password } = (await users.findCredentials({ id: ada })) ?? {};
			for (const hash of [`${password?.hash}x`, "", null, undefined])
				t.equal(await sessions.begin(ada, aDevice, hash as string), undefined);
			t.strictSame(await sessions.list(ada), []);
		});

		await t.test(
			"where too many cannot be ended the login is good all the same, and the next one ends them",
			async (t) => {
				const now = await store.now();
				await fill(store, ada, mostSessions, (index) => now - 4000 + index, now + 5000);
				const { announce } = store;
				store.announce = () => Promise.reject(new errors.STORE_UNAVAILABLE());
				t.equal((await house.login("ada")).statusCode, 200);
				store.announce = announce;
				t.equal((await sessions.list(ada)).length, mostSessions + 1);
				t.equal((await house.login("ada")).statusCode, 200);
				t.equal((await sessions.list(ada)).length, mostSessions);
				await sessions.endAll(ada);
			},
		);

		await t.test("a refresh that fails spends nothing: the same token is good when the reason is gone", async (t) => {
			const { id, refresh } = await beginSession(house, ada);
			await giveRoles(house, ada, 300);
			t.match((await refreshWith(house, refresh)).json(), { statusCode: 403, code: "TOO_MANY_ROLES" });
			t.match(await sessions.find(id), { session: { generation: 0 } });
			await users.setRoles(ada, ["user"]);
			broken = true;
			t.equal((await refreshWith(house, refresh)).statusCode, 500);
			broken = false;
			t.match(await sessions.find(id), { session: { generation: 0 } });
			await passTime(house, 60);
			const next = await rotate(t, house, refresh, "after the grace time");
			await rotate(t, house, next.refresh);
			t.notMatch(house.rawLog(), /refresh_token_reuse/);
			await sessions.end(id);
		});

		await t.test("a login that fails leaves no session", async (t) => {
			const known = revocations.size();
			await giveRoles(house, ada, 300);
			for (let turn = 0; turn < 2; turn++)
				t.match((await house.login("ada")).json(), { statusCode: 403, code: "TOO_MANY_ROLES" });
			await users.setRoles(ada, ["user"]);
			broken = true;
			t.equal((await house.login("ada")).statusCode, 500);
			broken = false;
			t.strictSame(await sessions.list(ada), []);
			t.equal(revocations.size(), known + 3);
			t.equal((await house.login("ada")).statusCode, 200);
		});
		await t.test("roles that are taken away at once, while a login is under way, are not in its token", async (t) => {
			const asker = await introspector(house);
			const { begin } = sessions;
			/** What `user roles NAME user --now` does. */
			const takeAway = async (id: string) => {
				await users.setRoles(id, ["user"]);
				await sessions.endAll(id);
			};
			for (const moment of ["before", "after"] as const) {
				const id = await house.addUser(`login-${moment}`, ["admin"]);
				sessions.begin = (async (...values: Parameters<typeof begin>) => {
					if (moment === "before") await takeAway(id);
					const session = await begin(...values);
					if (moment === "after") await takeAway(id);
					return session;
				}) as typeof begin;
				const answer = await house.login(`login-${moment}`);
				sessions.begin = begin;
				t.equal(answer.statusCode, 200);
				t.strictSame(claimsOf(pairOf(answer).access).roles, ["user"], moment);
				const doors = await openDoors(house, asker, pairOf(answer));
				t.equal(doors.length, moment === "before" ? 6 : 0, `${moment} the session is there`);
			}
		});
	});
});

t.test("what a client or a proxy says of itself is stored clean and short", async (t) => {
	const house = await testApp(t, { settings: { TRUST_PROXY: "127.0.0.1" } });
	const { sessions } = house.services;
	const ada = await house.addUser("ada");
	const dirty = "a\u2028b\u2029c\u0000d\u202ee\u009bf\ud800";
	await beginRow(house.services, ada, { userAgent: dirty, address: dirty });
	t.match(await sessions.list(ada), [{ userAgent: "abcdef\ufffd", address: "abcdef\ufffd" }]);
	await sessions.endAll(ada);
	await beginRow(house.services, ada, { userAgent: `${"x".repeat(255)}\u{1f600}`, address: "::1" });
	t.ok((await sessions.list(ada))[0]?.userAgent?.isWellFormed(), "also where it is cut");
	await sessions.endAll(ada);
	const { payload, headers } = form({ username: "root", password: "copper thistle meridian 2718" });
	const forwarded = { "x-forwarded-for": `\u009b31m${"y".repeat(3000)}` };
	const answer = await house.app.inject({
		method: "POST",
		url: "/login",
		payload,
		headers: { ...headers, ...forwarded },
	});
	t.equal(answer.statusCode, 200);
	const [session] = await sessions.list((await house.services.users.getByName("root")).id);
	t.equal(session?.address, `31m${"y".repeat(253)}`);
});
