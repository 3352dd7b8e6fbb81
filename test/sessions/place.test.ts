/** Where SQLite keeps the row of a session: at a place made of its id, or, where it is not there, anywhere else. */
import { sql } from "kysely";
import t, { type Test } from "tap";
import * as random from "../../src/random.ts";
import { isRowOf, placeOf } from "../../src/sessions/place.ts";
import { type TestApp, testApp } from "../support/app.ts";
import { beginRow, beginSession, pairOf, refreshWith } from "../support/sessions.ts";

const openHouse = (test: Test) => testApp(test, { store: "sqlite" });

async function rowOf({ services }: TestApp, id: string): Promise<{ rowid: number; generation: number }> {
	const { db } = services.store;
	return db.selectFrom("sessions").select(["rowid", "generation"]).where("id", "=", id).executeTakeFirstOrThrow();
}

t.test("a session begins at its place", async (t) => {
	const house = await openHouse(t);
	const ada = await house.addUser("ada");
	for (let turn = 0; turn < 20; turn++) {
		const { id } = await beginSession(house, ada);
		t.equal((await rowOf(house, id)).rowid, placeOf(id));
	}
});

t.test("a session is looked for at its place first, and then by the index", async (t) => {
	const house = await openHouse(t);
	const { rows } = await sql<{
		detail: string;
	}>`explain query plan select * from sessions where ${isRowOf({ id: "an id", place: 1 })}`.execute(
		house.services.store.db,
	);
	const searched = rows
		.map(({ detail }) => detail)
		.filter((detail) => detail.includes("SE") && !detail.includes("SUBQUERY"));
	t.match(searched, [
		"SEARCH sessions USING INTEGER PRIMARY KEY (rowid=?)",
		"SEARCH placed USING INTEGER PRIMARY KEY (rowid=?)",
		/^SEARCH elsewhere USING COVERING INDEX/,
	]);
});

t.test("a place is 48 bits of an id, and there is one for any text", async (t) => {
	t.equal(placeOf("_________wAAAAAAAAAAAA"), 2 ** 48 - 1);
	t.equal(placeOf("AAAAAAABAAAAAAAAAAAAAA"), 1);
	t.equal(placeOf("AAAAAAAB_____________w"), 1, "of the rest nothing counts");
	for (const text of ["", "a", "no id at all", "…"]) t.ok(Number.isSafeInteger(placeOf(text)), text);
});

t.test("a place that is taken is nobody's twice: the login begins its session elsewhere", async (t) => {
	const house = await openHouse(t);
	const ada = await house.addUser("ada");
	const ids = ["samePlaceAAAAAAAAAAAAA", "samePlaceBBBBBBBBBBBBA", "another4CCCCCCCCCCCCCA"];
	const drawn = ids.values();
	const { createSessions } = await t.mockImport<typeof import("../../src/sessions/sessions.ts")>(
		"../../src/sessions/sessions.ts",
		{ "../../src/random.ts": { ...random, randomId: () => drawn.next().value } },
	);
	const { store, revocations, users } = house.services;
	const sessions = createSessions({ store, revocations, config: house.services.config });
	for (const [index, id] of ids.entries()) {
		const session = await beginRow({ sessions, users }, ada);
		t.equal(session.id, id);
		t.equal((await rowOf(house, id)).rowid === placeOf(id), index !== 1, "where it is");
	}
	const moved = await Promise.all(ids.map((id) => sessions.advance({ id, generation: 0 })));
	t.same(moved, [true, true, true]);
});

t.test(
	"F03: sessions that are elsewhere, as the version before left them, are refreshed like all others",
	async (t) => {
		const house = await openHouse(t);
		const { db } = house.services.store;
		const ada = await house.addUser("ada");
		const pairs = await Promise.all(Array.from({ length: 40 }, () => beginSession(house, ada)));
		// A quarter elsewhere, and a quarter each at the place of another session, whose id is not theirs.
		for (const { id } of pairs.slice(0, 10))
			await sql`update sessions set rowid = rowid + 1 where id = ${id}`.execute(db);
		for (let first = 10; first < 20; first += 2) {
			const [one, other] = pairs.slice(first, first + 2).map(({ id }) => id) as [string, string];
			await sql`update sessions set rowid = -1 where id = ${one}`.execute(db);
			await sql`update sessions set rowid = ${placeOf(one)} where id = ${other}`.execute(db);
			await sql`update sessions set rowid = ${placeOf(other)} where id = ${one}`.execute(db);
		}
		for (const [index, { id }] of pairs.entries())
			t.equal((await rowOf(house, id)).rowid === placeOf(id), index >= 20, "where it is meant to be");

		const before = house.services.store.stats().statements.count;
		let tokens = pairs.map(({ refresh }) => refresh);
		for (let turn = 1; turn <= 3; turn++) {
			const answers = await Promise.all([...tokens, ...tokens].map((token) => refreshWith(house, token)));
			t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200]);
			const successors = answers.map((answer) => pairOf(answer).refresh);
			t.same(successors.slice(0, tokens.length), successors.slice(tokens.length), "one successor each");
			tokens = successors.slice(0, tokens.length);
		}
		const statements = house.services.store.stats().statements.count - before;
		t.ok(statements < 80, `together as all others are: ${statements} statements for 240 refreshes`);
		for (const { id } of pairs) t.equal((await rowOf(house, id)).generation, 3, "moved on once a turn");
		const [one, other] = pairs.slice(10, 12).map(({ id }) => id) as [string, string];
		t.equal(await house.services.sessions.advance({ id: one, generation: 3 }), true);
		t.equal((await rowOf(house, one)).generation, 4);
		t.equal((await rowOf(house, other)).generation, 3, "whoever is at the place of another stays as it was");
		t.equal(await house.services.sessions.advance({ id: other, generation: 4 }), false);
		const [ended] = pairs;
		await house.services.sessions.end(ended?.id ?? "");
		const answers = await Promise.all(tokens.map((token) => refreshWith(house, token)));
		t.same(
			answers.map(({ statusCode }) => statusCode),
			[401, ...Array.from({ length: 39 }, () => 200)],
			"one that has ended is not found anywhere",
		);
	},
);
