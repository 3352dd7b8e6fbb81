/** One refresh token, used by many at once: by tabs, by replicas, by a client whose answer was lost. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { LightMyRequestResponse } from "fastify";
import t from "tap";
import { form, type TestApp, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";
import { beginSession, pairOf, refreshWith, rotate } from "../support/sessions.ts";
import { listen } from "../support/sockets.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";
import { until } from "../support/until.ts";

const parallel = 50;

onEachStore((kind) => {
	t.test(
		`${kind}: F03: ${parallel} parallel refreshes of one token have one successor, one live session`,
		async (t) => {
			const location = await openStoreLocation(t, kind);
			const first = await testApp(t, { store: kind, location });
			// SQLite has one replica; PostgreSQL as many as one likes.
			const houses = kind === "sqlite" ? [first] : [first, await testApp(t, { store: kind, location })];
			const house = (turn: number) => houses[turn % houses.length] as TestApp;
			const ada = await first.addUser("ada");
			const outcomes = new Map<string, number>();
			for (let round = 0; round < rounds(200); round++) {
				const { id, refresh } = await beginSession(first, ada);
				const answers = await Promise.all(
					Array.from({ length: parallel }, (_, turn) => refreshWith(house(turn), refresh)),
				);
				const successors = new Set(answers.map((answer) => pairOf(answer).refresh));
				const statuses = new Set(answers.map(({ statusCode }) => statusCode));
				const sessions = await first.services.sessions.list(ada);
				const live = sessions.map((session) => (session.id === id ? `generation ${session.generation}` : "another"));
				const next = await refreshWith(house(round), [...successors][0] ?? "");
				const outcome = `${[...statuses]}, ${successors.size} successor, ${live}, next ${next.statusCode}`;
				outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
				await first.services.sessions.end(id);
			}
			t.strictSame([...outcomes], [["200, 1 successor, generation 1, next 200", rounds(200)]]);
			t.notMatch(first.rawLog(), /refresh_token_reuse/, "nobody is taken for a thief");
		},
	);

	t.test(`${kind}: F04: an answer that is lost on the way is no logout`, async (t) => {
		const house = await testApp(t, { store: kind });
		const port = await listen(house);
		const { id, refresh } = await beginSession(house, await house.addUser("ada"));
		const { payload } = form({ refresh_token: refresh });
		const socket = connect(port, "127.0.0.1").on("error", () => {});
		await once(socket, "connect");
		const head = `POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
		let received = 0;
		socket.on("data", (data) => {
			received += data.length;
		});
		socket.write(`${head}Content-Length: ${payload.length}\r\n\r\n${payload}`, () => socket.resetAndDestroy());
		await once(socket, "close");
		t.equal(received, 0, "the client has nothing");
		const generation = async () => (await house.services.sessions.find(id))?.session.generation;
		// Where the request was cut before it was read, the retry is the first use.
		for (let turn = 0; turn < 200 && (await generation()) === 0; turn++) await sleep(10);
		const next = await rotate(t, house, refresh, "the same token again");
		await rotate(t, house, next.refresh, "and what it got works next time");
		t.match(await house.services.sessions.find(id), { session: { generation: 2 } });
	});
});

t.test("F15: 500 refreshes that wait for one session hold no connection, and hold up nobody else", async (t) => {
	const house = await testApp(t, { store: "postgres" });
	const ada = await beginSession(house, await house.addUser("ada"));
	const bob = await beginSession(house, await house.addUser("bob"));
	const { sessions, users } = house.services;
	const { advance } = sessions;
	const { findBySession } = users;
	const gate = Promise.withResolvers<void>();
	let [arrived, attempts, answered] = [0, 0, 0];
	users.findBySession = (id) => findBySession(id).finally(() => arrived++);
	// As if somebody kept the row locked: whoever asks the store to move this session on has to wait.
	sessions.advance = async (session) => {
		if (session.id !== ada.id) return advance(session);
		attempts++;
		await gate.promise;
		return advance(session);
	};
	const waiting: Promise<LightMyRequestResponse>[] = [];
	// In waves: how fast the store looks up 500 sessions at once is not what this is about.
	while (waiting.length < 500) {
		for (let turn = 0; turn < 25; turn++) waiting.push(refreshWith(house, ada.refresh).finally(() => answered++));
		await until("all of them have looked", () => arrived === waiting.length);
	}
	const next = await rotate(t, house, bob.refresh, "another user's refresh is answered meanwhile");
	t.equal((await house.login("bob")).statusCode, 200, "a login too");
	await rotate(t, house, next.refresh);
	t.strictSame([answered, attempts], [0, 1], "while all 500 wait, and one of them asks the store");
	gate.resolve();
	const answers = await Promise.all(waiting);
	t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))], [200]);
	const successors = [...new Set(answers.map((answer) => pairOf(answer).refresh))];
	t.equal(successors.length, 1);
	t.equal(attempts, 1, "they ask no more");
	await rotate(t, house, successors[0] ?? "", "and what they got works");
});
