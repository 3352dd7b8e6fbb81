/** Ends that find nothing: the token that was shown is refused all the same, and nobody else is woken for nothing. */
import t from "tap";
import { testApp } from "../support/app.ts";
import { beginSession, introspector, openDoors, post } from "../support/sessions.ts";
import { onEachStore, versionsOf } from "../support/stores.ts";

onEachStore((kind) => {
	t.test(`${kind}: ends that find nothing`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { changes, revocations, store } = house.services;
		const ada = await house.addUser("ada");
		const bob = await house.addUser("bob");
		const asker = await introspector(house);
		const version = async () => (await versionsOf(store)).revocations;
		const end = (id: string, token: string) =>
			house.app.inject({ method: "DELETE", url: `/sessions/${id}`, headers: { authorization: `Bearer ${token}` } });

		for (const url of ["/logout", "/logout/all"])
			await t.test(`${url}: the access token is refused, also where its session's row is gone`, async (t) => {
				const { id, access } = await beginSession(house, ada);
				// As in a store that was restored, or purged while the token was borne for its last seconds.
				await store.db.deleteFrom("sessions").where("id", "=", id).execute();
				t.equal((await house.get("/protected", access)).statusCode, 200);
				t.equal((await post(house, url, {}, access)).statusCode, 204);
				t.same(await openDoors(house, asker, { access }), []);
				const rows = await store.db.selectFrom("revocations").selectAll().where("id", "=", id).execute();
				t.equal(rows.length, 1, "other processes hear of it");
				t.ok((rows[0]?.ends_at ?? 0) >= house.clock.now() + 900 + 30);
			});

		await t.test("L06: a Content-Type without a body does not keep a session from ending", async (t) => {
			for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded"]) {
				const [first, second] = [await beginSession(house, ada), await beginSession(house, ada)];
				const ask = (method: "DELETE" | "POST", url: string, token: string) =>
					house.app.inject({ method, url, headers: { authorization: `Bearer ${token}`, "content-type": type } });
				t.equal((await ask("DELETE", `/sessions/${first.id}`, second.access)).statusCode, 204, `DELETE, ${type}`);
				t.equal((await ask("POST", "/logout", second.access)).statusCode, 204, `POST, ${type}`);
			}
		});

		await t.test(
			"a session that is another's or nobody's is 404, and a revoked token 200, without a write",
			async (t) => {
				const own = await beginSession(house, ada);
				const foreign = await beginSession(house, bob);
				await post(house, "/revoke", { token: own.access }, (await beginSession(house, ada)).access);
				const caller = await beginSession(house, ada);
				const before = await version();
				for (const id of [foreign.id, "x".repeat(22), "none"]) t.equal((await end(id, caller.access)).statusCode, 404);
				t.equal((await post(house, "/revoke", { token: own.access }, caller.access)).statusCode, 200);
				t.equal((await post(house, "/revoke", { token: foreign.refresh }, caller.access)).statusCode, 200);
				t.equal(await version(), before, "no other process is told anything");
				t.equal((await end(own.id, caller.access)).statusCode, 204);
				t.ok((await version()) > before, "and of an end they are");
				t.equal((await end(own.id, caller.access)).statusCode, 404, "once");
				t.equal((await openDoors(house, asker, foreign)).length, 6);
				await changes.poll();
				t.ok(revocations.size() > 0);
			},
		);
	});
});
