/** What a flood of made-up names and addresses leaves behind: nothing in memory, and rows that go. Row R13. */
import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sql } from "kysely";
import t from "tap";
import { testApp } from "../support/app.ts";
import { progress, rounds } from "../support/rounds.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What the limiter may need, in bytes, for any number of them: docs/operations.md says so. */
const mostBytes = 16_000_000;
/** A tenth of what a key kept for each try would take, for the runs with fewer of them. */
const bytesATry = 10;
const atOnce = 20;

t.test("R13: a million random names and addresses leave nothing in memory, and their rows go in time", async (t) => {
	const house = await testApp(t, { settings: { LOGIN_LIMITS: "on" } });
	const { limits, store } = house.services;
	// What is measured is memory: no try has to wait for the disk.
	await sql`pragma synchronous = off`.execute(store.db);
	const address = (turn: number) =>
		turn % 2 === 0
			? `2001:${randomBytes(6)
					.toString("hex")
					.replace(/(....)(?=.)/g, "$1:")}::1`
			: `198.${[...randomBytes(3)].join(".")}`;
	let refused = 0;
	const guess = async (turn: number) => {
		const origin = { id: `request ${turn}`, ip: address(turn) };
		const username = randomBytes(8).toString("hex");
		const password = randomBytes(12).toString("hex");
		try {
			const attempt = await limits.take(
				{ username, password, origin, device: undefined, userId: undefined, isDisabled: false },
				() => {},
			);
			if (turn % 3 === 0) attempt.abandoned();
			else await attempt.wrong();
		} catch {
			refused++;
		}
	};
	const used = () => {
		collect();
		const { heapUsed, external } = process.memoryUsage();
		return heapUsed + external;
	};
	const times = rounds(1_000_000);
	const rows = async (kind = "") => {
		const counted = sql<{ count: number }>`select count(*) as count from login_tries where bucket like ${`${kind}%`}`;
		return (await counted.execute(store.db)).rows[0]?.count ?? 0;
	};

	let before = 0;
	for (let turn = 0; turn < times; turn += atOnce) {
		// After the first ones, which have filled every cache.
		if (turn === 10_000) before = used();
		await Promise.all(Array.from({ length: atOnce }, (_, place) => guess(turn + place)));
		if (turn > 0 && turn % (times / 10) === 0)
			progress(`${turn} of ${times}: ${((used() - before) / 1e6).toFixed(1)} MB more, ${await rows()} rows`);
	}
	const grown = used() - before;
	const bound = Math.min(mostBytes, 2_000_000 + bytesATry * times);
	t.ok(grown < bound, `${(grown / 1e6).toFixed(1)} MB more than after 10,000 of them`);
	t.ok(refused < times / 100, `${refused} met a limit: names and addresses are random`);
	for (const kind of ["account", "address"])
		t.ok((await rows(kind)) > 0.99 * (times - refused), `each has left a row for its ${kind}`);

	house.clock.advance(7201);
	let purged = 0;
	for (let step = 1; step > 0; purged += step) step = await limits.purge();
	t.equal(await rows(), 0, "once its tries are forgotten each row goes");
	progress(`${purged} rows went, in steps of 500`);
});
