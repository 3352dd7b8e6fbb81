/** Refreshes that come at the same time share their statements: each still gets what is its own, and nothing else. */
import pg from "pg";
import t from "tap";
import type { Session } from "../../src/sessions/session.ts";
import { type TestApp, testApp } from "../support/app.ts";
import { beginSession, claimsOf, pairOf, refreshWith } from "../support/sessions.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

const accounts = 60;
const sessionsOfEach = 4;

/** How many statements the store has run. */
const statements = ({ services }: TestApp): number => services.store.stats().statements.count;

onEachStore((kind) => {
	t.test(`${kind}: T26: hundreds of refreshes at once never mix accounts, sessions or answers up`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { users } = house.services;
		const sessions: { user: string; roles: string[]; session: string; token: string; expected: number }[] = [];
		for (let account = 0; account < accounts; account++) {
			const roles = [["user"], ["admin", "user"], []][account % 3] ?? [];
			const user = await house.addUser(`user${account}`, roles);
			for (let turn = 0; turn < sessionsOfEach; turn++) {
				const { id, refresh } = await beginSession(house, user);
				sessions.push({ user, roles, session: id, token: refresh, expected: 200 });
			}
		}
		// Among them those that nobody may refresh any more: each is refused, and takes no other with it.
		for (const entry of sessions.filter((_, place) => place % 10 === 7)) {
			await house.services.sessions.end(entry.session);
			entry.expected = 401;
		}
		const [disabled] = sessions;
		await users.setDisabled(disabled?.user ?? "", true);
		for (const entry of sessions) if (entry.user === disabled?.user) entry.expected = 401;

		const before = statements(house);
		for (let turn = 1; turn <= 3; turn++) {
			const answers = await Promise.all(sessions.map(({ token }) => refreshWith(house, token)));
			for (const [place, answer] of answers.entries()) {
				const entry = sessions[place] as (typeof sessions)[number];
				if (answer.statusCode !== entry.expected) t.fail(`${answer.statusCode} in place of ${entry.expected}`);
				if (answer.statusCode !== 200) continue;
				const { access, refresh } = pairOf(answer);
				const { sub, sid, roles, permissions } = claimsOf(access);
				const isOwn = sub === entry.user && sid === entry.session && `${roles}` === `${entry.roles}`;
				const mayWrite = (permissions as string[]).includes("users:write");
				if (!isOwn || mayWrite !== entry.roles.includes("admin")) t.fail(`${sub} got what is ${entry.user}'s`);
				const named = await house.services.refresh.look(refresh);
				if (named?.id !== entry.session || named.generation !== turn) t.fail("the successor names another session");
				entry.token = refresh;
			}
		}
		const good = sessions.filter(({ expected }) => expected === 200).length;
		t.ok(good > 150, `${good} sessions were refreshed three times`);
		const asked = statements(house) - before - 3 * good;
		t.ok(asked < good, `${asked} statements for ${3 * good} refreshes, without those that looked at the answers`);
	});

	t.test(`${kind}: F03: one generation is moved on once, also by callers that come together`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { sessions } = house.services;
		const ada = await beginSession(house, await house.addUser("ada"));
		const bob = await beginSession(house, await house.addUser("bob"));
		const named = [
			{ id: ada.id, generation: 0 },
			{ id: bob.id, generation: 0 },
			{ id: ada.id, generation: 0 },
			{ id: bob.id, generation: 1 },
			{ id: "nobody", generation: 0 },
		];
		const moved = await Promise.all(named.map((one) => sessions.advance(one)));
		t.equal(moved.filter((_, place) => named[place]?.id === ada.id && moved[place]).length, 1);
		t.equal(moved[4], false, "a session that is not there");
		t.match(await sessions.find(ada.id), { session: { generation: 1 } });
		const { session } = (await sessions.find(bob.id)) ?? {};
		t.equal(session?.generation, [moved[1], moved[3]].filter(Boolean).length, "as often as somebody was told so");
	});
});

onEachStore((kind) => {
	t.test(
		`${kind}: F03: many sessions refreshed twice at once, by two replicas where there are two, have one successor each`,
		async (t) => {
			const location = await openStoreLocation(t, kind);
			const first = await testApp(t, { store: kind, location });
			// SQLite has one replica; there both go to the same one.
			const second = kind === "sqlite" ? first : await testApp(t, { store: kind, location });
			const ada = await first.addUser("ada");
			let tokens = await Promise.all(Array.from({ length: 60 }, async () => (await beginSession(first, ada)).refresh));
			const outcomes = new Map<string, number>();
			for (let turn = 1; turn <= 10; turn++) {
				const asked = [...tokens, ...tokens];
				const house = (place: number) => (place < tokens.length ? first : second);
				const answers = await Promise.all(asked.map((token, place) => refreshWith(house(place), token)));
				const successors = answers.map((answer) => pairOf(answer).refresh);
				for (const [place, token] of tokens.entries()) {
					const statuses = [place, place + tokens.length].map((one) => answers[one]?.statusCode);
					const isSame = successors[place] === successors[place + tokens.length] && successors[place] !== token;
					const outcome = `${statuses}, ${isSame ? "the same successor" : "two successors"}`;
					outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
				}
				tokens = successors.slice(0, tokens.length);
			}
			t.strictSame([...outcomes], [["200,200, the same successor", 600]]);
			const sessions = await first.services.sessions.list(ada);
			t.strictSame([...new Set(sessions.map(({ generation }) => generation))], [10], "each moved on once a turn");
			t.equal(sessions.length, 60);
		},
	);
});

t.test("F15: a session whose row another transaction holds keeps nobody else's refresh waiting", async (t) => {
	const location = await openStoreLocation(t, "postgres");
	const house = await testApp(t, { store: "postgres", location });
	const ada = await beginSession(house, await house.addUser("ada"));
	const others = await Promise.all(
		Array.from({ length: 30 }, async (_, place) => beginSession(house, await house.addUser(`user${place}`))),
	);
	const holder = new pg.Client({ connectionString: location.databaseUrl });
	await holder.connect();
	t.teardown(() => holder.end());
	const { sessions } = house.services;
	/** Asks for all of them in one turn of the event loop while the row of the first one is held. */
	const whileHeld = async <Answer>(what: string, ask: (session: typeof ada, generation: number) => Promise<Answer>) => {
		const { session: { generation = 0 } = {} } = (await sessions.find(ada.id)) ?? {};
		await holder.query("begin");
		await holder.query("select from sessions where id = $1 for update", [ada.id]);
		let waits = true;
		const own = ask(ada, generation).finally(() => {
			waits = false;
		});
		const answers = await Promise.all(others.map((other) => ask(other, generation)));
		t.equal(waits, true, `${what}: its own waits`);
		await holder.query("commit");
		return [...answers, await own];
	};
	const moved = await whileHeld("one statement", ({ id }, generation) => sessions.advance({ id, generation }));
	t.strictSame([...new Set(moved)], [true], "all are moved on");
	const tokenOf = ({ id }: typeof ada, generation: number) =>
		house.services.refresh.tokenOf({ id, generation } as Session);
	const answers = await whileHeld("from the front door", (one, generation) =>
		refreshWith(house, tokenOf(one, generation)),
	);
	t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))], [200]);
	t.match(await sessions.find(ada.id), { session: { generation: 2 } });
});
