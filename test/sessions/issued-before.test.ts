/** `revoke --issued-before`: everything from before a time is refused, whatever became of the store. Row V10, fault 33. */
import t from "tap";
import { revokeIssuedBefore } from "../../src/cli/revoke.ts";
import { aSession, createFakeClock, type TestApp, testApp } from "../support/app.ts";
import { beginSession, introspector, openDoors, rotate } from "../support/sessions.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";
import { until } from "../support/until.ts";

onEachStore((kind) => {
	t.test(
		`${kind}: fault 33: tokens and sessions from before are refused, here, there, and after a restart`,
		async (t) => {
			const location = await openStoreLocation(t, kind);
			const here = await testApp(t, { store: kind, location });
			const { clock } = here;
			const there = await testApp(t, { store: kind, location, clock });
			const { services } = here;
			const ada = await here.addUser("ada");
			const pair = await beginSession(here, ada);
			const gone = await beginSession(here, ada);
			// As in a restored store: of this session nothing is left but the client's tokens.
			await services.store.db.deleteFrom("sessions").where("id", "=", gone.id).execute();
			const asker = await introspector(here);
			t.same(await openDoors(there, asker, { access: gone.access }), [
				"introspect access",
				"/protected",
				"/me",
				"/sessions",
			]);

			const answer = await revokeIssuedBefore(services, "now");
			const { issued_before, sessions } = answer.json as { issued_before: number; sessions: number };
			t.equal(sessions, 2, "ada's, and the asker's");
			t.match(answer.text, /2 sessions were ended/);
			t.same(await services.store.db.selectFrom("sessions").select("id").execute(), []);
			// The service's clock is the test's and stood still meanwhile.
			clock.advance(Math.max(0, issued_before - clock.now()));
			const later = await introspector(here);
			t.same(await openDoors(here, later, pair), []);
			t.same(await openDoors(here, later, gone), []);
			const isRefused = async () => (await there.get("/protected", gone.access)).statusCode !== 200;
			t.ok((await until("it is refused there", isRefused, { seconds: 2 })) < 1000, "there within a second");
			t.same(await openDoors(there, later, pair), []);
			t.same(await openDoors(there, later, gone), []);

			const fresh = await beginSession(there, ada);
			t.same((await openDoors(here, later, { access: fresh.access })).length, 4, "who logs in afterwards is in");
			await rotate(t, here, fresh.refresh);
			const restarted = await testApp(t, { store: kind, location, clock });
			t.same(await openDoors(restarted, later, pair), []);
			t.same(await openDoors(restarted, later, gone), []);
			t.equal((await openDoors(restarted, later, { access: fresh.access })).length, 4);
		},
	);

	t.test(`${kind}: a session that a slower replica refreshed meanwhile ends with the token it was given`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { services } = house;
		const now = await services.store.now();
		const pair = await beginSession(house, await house.addUser("ada"));
		const asker = await introspector(house);
		await services.store.db
			.updateTable("sessions")
			.set({ created_at: now - 10 })
			.where("id", "=", pair.id)
			.execute();
		const next = await rotate(t, house, pair.refresh);
		// Another process set the time, and this one has not heard: its tokens are newer than that.
		t.equal(await services.sessions.endBegunBefore(now - 5), 1);
		t.same(await openDoors(house, asker, next), []);
		t.equal((await house.get("/protected", asker)).statusCode, 200, "a session that was begun later goes on");
	});

	t.test(`${kind}: once the time is stored nothing of before is good, also where no session was deleted`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { services, clock } = house;
		const asker = await introspector(house);
		const now = await services.store.now();
		// A tolerance apart, whatever the two clocks of this test say.
		clock.advance(Math.max(0, now - clock.now()));
		const [old, confirmed] = [
			await beginSession(house, await house.addUser("ada")),
			await beginSession(house, await house.addUser("bob")),
		];
		await services.store.db
			.updateTable("sessions")
			.set({ created_at: now - 10, authenticated_at: now - 10 })
			.where("id", "in", [old.id, confirmed.id])
			.execute();
		const next = await rotate(t, house, old.refresh, "refreshed after the time that comes to be stored");
		await services.sessions.reauthenticate(confirmed.id);
		t.equal((await openDoors(house, asker, { access: next.access })).length, 4, "until then it is good");

		// The command was killed here, or has not come further yet.
		await services.revocations.refuseIssuedBefore(now - 5);
		t.same(await openDoors(house, asker, next), [], "a token that is newer, of a session that is older");
		t.same(
			await openDoors(house, asker, { refresh: confirmed.refresh }),
			[],
			"where the password was given again, too",
		);
		t.equal(await services.sessions.reauthenticate(confirmed.id), undefined);
		const rows = await services.store.db.selectFrom("sessions").select("id").execute();
		t.ok(
			rows.some(({ id }) => id === old.id),
			"its row is there",
		);
		t.equal((await house.get("/protected", asker)).statusCode, 200, "a session that was begun later goes on");
	});

	t.test(`${kind}: after "now" a replica whose clock is behind gives out tokens that all take`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const here = await testApp(t, { store: kind, location });
		const ada = await here.addUser("ada");
		const { services, clock } = here;
		const at = Math.max(await services.store.now(), clock.now()) + 1;
		await services.revocations.refuseIssuedBefore(at);
		clock.advance(at - clock.now());
		const slow = await testApp(t, { store: kind, location, clock: createFakeClock(at - 20) });
		const claims = (house: TestApp, authenticatedAt = at) => {
			const user = { id: ada, username: "ada", disabled: false, createdAt: 0, roles: [], permissions: [] };
			return house.services.tokens.claimsFor(user, { ...aSession(ada, at), authenticatedAt }, { fresh: true });
		};
		const given = claims(slow);
		t.match(given, { iat: at, nbf: at });
		const token = await slow.app.signAccessToken(given);
		t.equal((await here.get("/protected", token)).statusCode, 200, "there");
		t.equal((await slow.get("/protected", token)).statusCode, 200, "and here");
		const old = await slow.app.signAccessToken(claims(slow, at - 1));
		t.equal((await here.get("/protected", old)).statusCode, 401, "but none for a session of before");

		slow.clock.advance(-11);
		t.match(claims(slow), { iat: at - 31, nbf: at - 31 }, "no verifier takes a token from further ahead");
		slow.clock.advance(60);
		t.match(claims(slow), { iat: at + 29, nbf: at + 29 }, "afterwards its own time counts");
	});

	t.test(`${kind}: an earlier time than the stored one changes nothing, and one to come is refused`, async (t) => {
		const { services } = await testApp(t, { store: kind });
		const now = await services.store.now();
		await services.revocations.refuseIssuedBefore(now - 10);
		await services.revocations.refuseIssuedBefore(now - 100);
		t.match(await services.store.db.selectFrom("cutoffs").selectAll().execute(), [{ name: "issued", at: now - 10 }]);
		t.ok(services.revocations.isTooOld(now - 11));
		t.notOk(services.revocations.isTooOld(now - 10));
		for (const time of [String(now + 60), "2999-01-01T00:00:00Z"])
			await t.rejects(revokeIssuedBefore(services, time), { message: /still to come/ });
		for (const time of ["", "yesterday", "2026-11-23", "2026-13-23T00:00:00Z", "1e9", "-1", "2026-11-23T00:00:00"])
			await t.rejects(revokeIssuedBefore(services, time), { message: /takes now, epoch seconds/ });
		t.match(await services.store.db.selectFrom("cutoffs").selectAll().execute(), [{ at: now - 10 }]);
	});

	t.test(`${kind}: more sessions than one step takes all end`, async (t) => {
		const { services, addUser } = await testApp(t, { store: kind });
		const ada = await addUser("ada");
		const now = await services.store.now();
		const row = (id: string, created_at: number) => ({
			...{ id, user_id: ada, generation: 0, user_agent: null, address: "::1", created_at },
			...{ authenticated_at: now - 900, refreshed_at: now - 900, expires_at: now + 900 },
			...{ absolute_expires_at: now + 900, access_until: now, purge_at: now + 900 },
		});
		const rows = Array.from({ length: 1101 }, (_, index) => row(`old-${index}`, now - 900));
		for (let start = 0; start < rows.length; start += 400)
			await services.store.db
				.insertInto("sessions")
				.values(rows.slice(start, start + 400))
				.execute();
		await services.store.db
			.insertInto("sessions")
			.values(row("new", now - 5))
			.execute();
		const { json } = await revokeIssuedBefore(services, new Date((now - 10) * 1000).toISOString());
		t.same(json, { issued_before: now - 10, sessions: 1101 });
		t.same(await services.store.db.selectFrom("sessions").select("id").execute(), [{ id: "new" }]);
		t.same(
			await services.store.db.selectFrom("revocations").selectAll().execute(),
			[],
			"their tokens are refused by their time: no list of a million ids",
		);
	});
});
