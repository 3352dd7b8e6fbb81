/** Ends of sessions that race with their refreshes and with new logins. */
import t from "tap";
import { type TestApp, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";
import {
	beginSession,
	claimsOf,
	introspector,
	openDoors,
	type Pair,
	pairOf,
	post,
	refreshWith,
} from "../support/sessions.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

/** Every way to end a session with its own tokens. */
const ends: ((house: TestApp, pair: Pair) => ReturnType<typeof post>)[] = [
	(house, { access }) => post(house, "/logout", {}, access),
	(house, { refresh }) => post(house, "/logout", { refresh_token: refresh }),
	(house, { access }) => post(house, "/logout/all", {}, access),
	(house, { access, refresh }) => post(house, "/revoke", { token: refresh }, access),
	(house, { access }) => {
		const headers = { authorization: `Bearer ${access}` };
		return house.app.inject({ method: "DELETE", url: `/sessions/${claimsOf(access).sid}`, headers });
	},
];

onEachStore((kind) => {
	t.test(`${kind}: F09: a refresh that races a logout leaves nothing alive`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const here = await testApp(t, { store: kind, location });
		const there = kind === "sqlite" ? here : await testApp(t, { store: kind, location });
		const ada = await here.addUser("ada");
		const asker = await introspector(here);
		const left: string[] = [];
		const refreshed = new Set<number>();
		for (let round = 0; round < rounds(500); round++) {
			const pair = await beginSession(here, ada);
			const end = ends[round % ends.length] as (typeof ends)[number];
			const race = [() => refreshWith(here, pair.refresh), () => end(there, pair)];
			if (round % 2 === 0) race.reverse();
			const answers = await Promise.all(race.map((go) => go()));
			const [refresh, ended] = round % 2 === 0 ? answers.reverse() : answers;
			if (!ended || ended.statusCode >= 300) left.push(`round ${round}: the end was answered ${ended?.body}`);
			refreshed.add(refresh?.statusCode ?? 0);
			// Within a second each replica would ask by itself.
			await here.services.changes.poll();
			const known: Partial<Pair>[] = [pair];
			if (refresh?.statusCode === 200) known.push(pairOf(refresh));
			for (const tokens of known)
				for (const house of new Set([here, there]))
					for (const door of await openDoors(house, asker, tokens)) left.push(`round ${round}: ${door}`);
		}
		t.strictSame(left, []);
		t.strictSame(await here.services.sessions.list(ada), []);
		t.ok(refreshed.has(200) || refreshed.has(401), `refreshes were answered ${[...refreshed]}`);
	});

	t.test(`${kind}: logout everywhere and logins`, async (t) => {
		const house = await testApp(t, { store: kind });
		const asker = await introspector(house);

		await t.test(
			"V04: login, logout everywhere, login in one second: the first is dead, the second alive",
			async (t) => {
				const ada = await house.addUser("ada");
				const faults: string[] = [];
				for (let round = 0; round < rounds(200); round++) {
					// Hashing takes longer than all the rest: once it is the real login, then what it does after the hash.
					const login = async () => (round === 0 ? pairOf(await house.login("ada")) : beginSession(house, ada));
					const first = await login();
					const ended = await post(house, "/logout/all", {}, first.access);
					const second = await login();
					const { iat } = claimsOf(first.access);
					if (claimsOf(second.access).iat !== iat) faults.push(`round ${round}: not within one second of the clock`);
					if (ended.statusCode !== 204) faults.push(`round ${round}: ${ended.statusCode}`);
					const dead = await openDoors(house, asker, first);
					const alive = await openDoors(house, asker, second);
					if (dead.length > 0 || alive.length !== 6) faults.push(`round ${round}: ${dead} dead, ${alive} alive`);
				}
				t.strictSame(faults, []);
			},
		);

		await t.test("V04: a login that races it is either ended whole or alive whole", async (t) => {
			const bob = await house.addUser("bob");
			const faults: string[] = [];
			for (let round = 0; round < rounds(200); round++) {
				const { services } = house;
				const first = await beginSession(house, bob);
				const [second] = await Promise.all([beginSession(house, bob), post(house, "/logout/all", {}, first.access)]);
				if ((await openDoors(house, asker, first)).length > 0) faults.push(`round ${round}: the first lives`);
				const listed = (await services.sessions.list(bob)).map(({ id }) => id);
				const doors = await openDoors(house, asker, second);
				const whole = listed.includes(second.id) ? doors.length === 6 : doors.length === 0;
				if (!whole || listed.includes(first.id)) faults.push(`round ${round}: ${doors} of ${listed}`);
				await services.sessions.endAll(bob);
			}
			t.strictSame(faults, []);
		});
	});
});
