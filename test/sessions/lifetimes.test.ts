/** How long sessions live, that a restart changes nothing, and that the store gets rid of those that are over. */
import { sql } from "kysely";
import { pino } from "pino";
import t from "tap";
import { inSteps, openHousekeeping } from "../../src/housekeeping.ts";
import { selectDue } from "../../src/store/purge.ts";
import type { Store } from "../../src/store/store.ts";
import { createFakeClock, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";
import {
	beginRow,
	beginSession,
	bulk,
	claimsOf,
	introspector,
	openDoors,
	pairOf,
	passTime,
	post,
	refreshWith,
	rotate,
} from "../support/sessions.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";
import { until } from "../support/until.ts";

const day = 86_400;
const many = rounds(100_000);

onEachStore((kind) => {
	t.test(`${kind}: V08: no access token outlives what its session's end is remembered for`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const clock = createFakeClock();
		// In the middle of a rolling change of the setting.
		const house = (seconds: string) =>
			testApp(t, { store: kind, location, clock, settings: { ACCESS_TOKEN_SECONDS: seconds } });
		const [before, after] = [await house("900"), await house("3600")];
		const ada = await before.addUser("ada");
		for (const [writer, seconds] of [
			[before, 910],
			[after, 3600],
		] as const) {
			const { id, refresh } = await beginSession(before, ada);
			await rotate(t, writer, refresh);
			const again = await refreshWith(after, refresh);
			t.equal(again.json().expires_in, seconds, "within the grace time, without a write");
			await after.services.sessions.end(id);
			const row = await after.services.store.db
				.selectFrom("revocations")
				.select("ends_at")
				.where("id", "=", id)
				.executeTakeFirstOrThrow();
			const { exp } = claimsOf(pairOf(again).access) as { exp: number };
			t.ok(row.ends_at >= exp + 30, `its end is remembered until ${row.ends_at}, and it lives until ${exp}`);
		}
	});

	t.test(`${kind}: lifetimes`, async (t) => {
		const settings = { REFRESH_IDLE_DAYS: "4", REFRESH_ABSOLUTE_DAYS: "9", ACCESS_TOKEN_SECONDS: "86400" };
		const house = await testApp(t, { store: kind, settings });
		const ada = await house.addUser("ada");
		const { sessions } = house.services;
		const endOf = async () => (await sessions.list(ada))[0]?.expiresAt ?? 0;

		await t.test("F07: a session that is not refreshed ends after its idle time, and ends nothing else", async (t) => {
			const idle = await beginSession(house, ada);
			await passTime(house, 4 * day - 5);
			const { refresh } = await rotate(t, house, idle.refresh, "just before");
			await passTime(house, 4 * day + 1);
			t.match((await refreshWith(house, refresh)).json(), { statusCode: 401, code: "INVALID_TOKEN" });
			t.equal((await post(house, "/logout", { refresh_token: refresh })).statusCode, 401, "to no purpose at all");
			t.strictSame(await sessions.list(ada), []);
			t.notMatch(house.rawLog(), /refresh_token_reuse/, "too late is not theft");
		});

		await t.test("F07: refreshing does not move the absolute end, and no access token outlives it", async (t) => {
			const first = await beginSession(house, ada);
			const absolute = (await sessions.list(ada))[0]?.absoluteExpiresAt ?? 0;
			let [refresh, elapsed, ends] = [first.refresh, 0, 0];
			for (; elapsed + 2 * day < 9 * day; elapsed += 2 * day) {
				await passTime(house, 2 * day);
				const pair = await rotate(t, house, refresh, `after ${(elapsed + 2 * day) / day} days`);
				ends = await endOf();
				t.ok((claimsOf(pair.access).exp as number) <= ends, "an access token ends with its session at the latest");
				refresh = pair.refresh;
			}
			if (kind === "sqlite") t.equal(ends, absolute, "the absolute end");
			await passTime(house, day - 600);
			const last = await rotate(t, house, refresh, "ten minutes before the end");
			const { exp, iat } = claimsOf(last.access) as { exp: number; iat: number };
			// The test's clock stands still, PostgreSQL's does not.
			t.ok(exp - iat < 660 && exp - iat > 500, `its access token is good for ${exp - iat} seconds`);
			t.ok(exp <= (await endOf()), "and ends with the session");
			await passTime(house, 601);
			t.equal((await refreshWith(house, last.refresh)).statusCode, 401);
			t.strictSame(await sessions.list(ada), []);
		});

		await t.test("F07: neither does giving the password again: idle is counted from the last refresh", async (t) => {
			const { access } = await beginSession(house, ada);
			await passTime(house, 4 * day - 300);
			const { services } = house;
			const [session] = await sessions.list(ada);
			const again = session && (await sessions.reauthenticate(session.id));
			const user = await services.users.find(ada);
			const { exp } = services.tokens.claimsFor(user as never, again as never, { fresh: true });
			t.equal(exp, session?.expiresAt, "its token ends with the session");
			t.ok(exp < (claimsOf(access).exp as number) + 4 * day);
		});
	});

	t.test(`${kind}: F08: spent and ended stays spent and ended when every process is new`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const clock = createFakeClock();
		await t.test("before", async (t) => {
			const house = await testApp(t, { store: kind, location, clock });
			const ada = await house.addUser("ada");
			const [out, spent, single, kept] = await Promise.all([1, 2, 3, 4].map(() => beginSession(house, ada)));
			if (!out || !spent || !single || !kept) throw new Error("four sessions");
			await post(house, "/logout", {}, out.access);
			const second = await rotate(t, house, spent.refresh);
			const third = await rotate(t, house, second.refresh);
			await post(house, "/revoke", { token: single.access }, kept.access);
			Object.assign(known, { out, spent, third, single, kept });
		});
		const house = await testApp(t, { store: kind, location, clock });
		const asker = await introspector(house);
		const { out, spent, third, single, kept } = known;
		t.same(await openDoors(house, asker, out), [], "logged out");
		t.same(await openDoors(house, asker, { access: single.access }), [], "a revoked token");
		t.ok((await openDoors(house, asker, { refresh: single.refresh })).includes("/refresh"), "but not its session");
		t.ok((await openDoors(house, asker, third)).includes("/protected"), "a live one lives");
		t.equal((await refreshWith(house, spent.refresh)).statusCode, 401, "a spent one is known to be");
		t.same(await openDoors(house, asker, third), [], "and ends its session");
		t.equal((await openDoors(house, asker, kept)).length, 6, "the others go on");
	});

	t.test(`${kind}: F16: the purge puts off a session that goes on`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { db } = house.services.store;
		const { id, refresh } = await beginSession(house, await house.addUser("ada"));
		const row = async () =>
			(await db.selectFrom("sessions").select(["expires_at", "purge_at"]).where("id", "=", id).execute())[0];
		const { purge } = house.services.sessions;
		await passTime(house, 6 * day);
		t.equal(await purge(), 0, "its time has not come");
		await passTime(house, 2 * day);
		t.equal(await purge(), 1, "after a week it is looked at");
		t.equal(await purge(), 0, "once");
		const again = ((await row())?.purge_at ?? 0) - (await house.services.store.now());
		t.ok(again > 3 * day && again <= 7 * day, `and again in ${again} s: within a week`);
		await passTime(house, 20 * day);
		const second = await rotate(t, house, refresh, "after 28 days");
		await passTime(house, 27 * day);
		t.equal(await purge(), 1);
		const putOff = await row();
		t.equal(putOff?.purge_at, putOff?.expires_at, "the last time before its end: to its end");
		// As the version before begins one, and as all are after the migration.
		await db.updateTable("sessions").set({ purge_at: 0 }).execute();
		t.equal(await purge(), 1);
		t.same(await row(), putOff, "one without a time gets it");
		await rotate(t, house, second.refresh, "it lives");
		await passTime(house, 31 * day);
		t.equal(await purge(), 1);
		t.equal(await row(), undefined, "it is over, and gone");
	});

	t.test(`${kind}: F16: a step looks at 500, those that go on and those that are over alike`, async (t) => {
		const house = await testApp(t, { store: kind });
		const ada = await house.addUser("ada");
		const { db } = house.services.store;
		const now = await house.services.store.now();
		const rows = Array.from({ length: 1200 }, (_, index) => ({
			...{ id: `s-${index}`, user_id: ada, generation: 0, user_agent: null, address: "::1", created_at: now - 900 },
			...{ authenticated_at: now - 900, refreshed_at: now - 900, access_until: now, absolute_expires_at: now + day },
			// The first 600 go on, the others are over.
			...{ expires_at: index < 600 ? now + day : now - 10, purge_at: now - 5000 + index },
		}));
		while (rows.length > 0) await db.insertInto("sessions").values(rows.splice(0, 400)).execute();
		const sizes: number[] = [];
		for (;;) {
			const size = await house.services.sessions.purge();
			sizes.push(size);
			if (size === 0) break;
		}
		t.strictSame(sizes, [500, 500, 200, 0]);
		const left = await db.selectFrom("sessions").select("purge_at").execute();
		t.equal(left.length, 600);
		t.same(new Set(left.map(({ purge_at }) => purge_at)), new Set([now + day]));
	});

	t.test(`${kind}: a refresh changes nothing that an index is over`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { db } = house.services.store;
		const { refresh } = await beginSession(house, await house.addUser("ada"));
		await passTime(house, 60);
		const row = () => db.selectFrom("sessions").selectAll().executeTakeFirstOrThrow();
		const before = await row();
		await rotate(t, house, refresh, "a minute later");
		const after = await row();
		const changed = Object.keys(after).filter(
			(key) => after[key as keyof typeof after] !== before[key as keyof typeof after],
		);
		t.same(changed.sort(), ["access_until", "expires_at", "generation", "refreshed_at"]);
		// A condition or an expression of an index would stand beside its columns.
		const { rows } =
			kind === "sqlite"
				? await sql<{ name: string; plain: number }>`select columns.name, not partial as plain
					from pragma_index_list('sessions') as indexes, pragma_index_info(indexes.name) as columns`.execute(db)
				: await sql<{
						name: string;
						plain: boolean;
					}>`select attname as name, indexprs is null and indpred is null as plain
					from pg_index join pg_attribute on attrelid = indexrelid where indrelid = 'sessions'::regclass`.execute(db);
		t.same(rows.map(({ name }) => name).sort(), ["id", "purge_at", "user_id"]);
		t.ok(rows.every(({ plain }) => plain));
	});

	t.test(`${kind}: the purge finds what is due by the index, and does not look at all sessions`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { db } = house.services.store;
		if (kind === "sqlite") {
			const due = selectDue(house.services.store, { table: "sessions", key: "id", at: "purge_at" });
			const { rows } = await sql<{
				detail: string;
			}>`explain query plan delete from sessions where id in ${due}`.execute(db);
			const plan = rows.map(({ detail }) => detail).join();
			t.match(plan, /SEARCH sessions USING (COVERING )?INDEX sessions_by_purge \(purge_at<\?\)/);
			t.notMatch(plan, "SCAN sessions");
			return;
		}
		// PostgreSQL goes through a small table whatever indexes there are.
		const ada = await house.addUser("ada");
		const later = sql.lit((await house.services.store.now()) + day);
		const rows = sql`insert into sessions select 'live-' || i, ${ada}, 0, null, '::1', ${later}, ${later}, ${later}, ${later},
			${later}, ${later}, ${later} from generate_series(1, 100000) as s(i)`;
		await bulk(house.services.config, house.services.store, rows);
		await bulk(house.services.config, house.services.store, sql`vacuum analyze sessions`);
		const scans = async () => {
			const { rows } = await sql<{ whole: number; index: number }>`select seq_scan as whole, index.idx_scan as index
				from pg_stat_user_tables as tables join pg_stat_user_indexes as index using (relid)
				where tables.relname = 'sessions' and indexrelname = 'sessions_by_purge'`.execute(db);
			return rows[0] ?? { whole: -1, index: -1 };
		};
		const before = await scans();
		t.equal(await house.services.sessions.purge(), 0);
		// A connection tells what it did when it has rested for a second.
		await until("the server has counted both statements", async () => {
			await sql`select 1`.execute(db);
			return (await scans()).index >= before.index + 2;
		});
		t.equal((await scans()).whole, before.whole);
	});

	t.test(`${kind}: F16: ${many} sessions that are over leave the store in small steps`, async (t) => {
		const house = await testApp(t, { store: kind });
		const ada = await house.addUser("ada");
		const { services } = house;
		const { db } = services.store;
		const numbers =
			kind === "sqlite"
				? sql`(with recursive n(i) as (select 1 union all select i + 1 from n where i < ${many}) select i from n)`
				: sql`(select i from generate_series(1, ${sql.lit(many)}) as s(i))`;
		const past = house.clock.now() - 1000;
		const rows = sql`insert into sessions select 'old-' || i, ${ada}, 0, null, '127.0.0.1', ${sql.lit(past)}, ${sql.lit(past)},
			${sql.lit(past)}, ${sql.lit(past)}, ${sql.lit(past)}, ${sql.lit(past)}, ${sql.lit(past)} from ${numbers} as numbers`;
		await bulk(services.config, services.store, rows);
		const count = async () => {
			const { rows } = await sql<{ n: number }>`select count(*) as n from sessions`.execute(db);
			return Number(rows[0]?.n);
		};
		let { refresh } = await beginSession(house, ada);
		t.equal(await count(), many + 1);
		const sizes: number[] = [];
		let done = false;
		const purging = inSteps(async () => {
			const size = await services.sessions.purge();
			sizes.push(size);
			return size;
		})(new AbortController().signal).then(() => {
			done = true;
		});
		const begin = performance.now();
		let refreshes = 0;
		for (; !done; refreshes++) refresh = (await rotate(t, house, refresh, "refreshed meanwhile")).refresh;
		await purging;
		const seconds = (performance.now() - begin) / 1000;
		t.ok(seconds < 5 + (30 * many) / 100_000, `${seconds.toFixed(1)} s: 30 are promised for 100,000`);
		t.equal(sizes.length, many / 500 + 1, "each step is full until the last");
		t.ok(refreshes > sizes.length / 4, `${refreshes} refreshes meanwhile`);
		await beginSession(house, ada);
		t.strictSame([Math.max(...sizes), sizes.at(-1)], [500, 0], "never more than 500 in one step");
		t.equal(await count(), 2, "the live ones stay");
	});

	if (kind === "postgres")
		t.test("two replicas that purge at once share the work, and wait for nobody", async (t) => {
			const location = await openStoreLocation(t, kind);
			const [one, two] = [await testApp(t, { store: kind, location }), await testApp(t, { store: kind, location })];
			const ada = await one.addUser("ada");
			for (let turn = 0; turn < 10; turn++) await beginRow(one.services, ada);
			await passTime(one, 31 * day);
			const found = await one.services.store.transaction(async (transaction) => {
				await transaction.selectFrom("sessions").select("id").limit(4).forUpdate().execute();
				return two.services.sessions.purge();
			});
			t.equal(found, 6, "what another one has locked is left to it");
			const shares = await Promise.all([one.services.sessions.purge(), two.services.sessions.purge()]);
			t.equal(shares[0] + shares[1], 4);

			const { id, refresh } = await beginSession(one, ada);
			await passTime(one, 29 * day);
			const meanwhile = await one.services.store.transaction(async (transaction) => {
				await transaction.updateTable("sessions").set({ purge_at: 0 }).where("id", "=", id).execute();
				return two.services.sessions.purge();
			});
			t.equal(meanwhile, 0, "what a request is at is left for the next time");
			await rotate(t, one, refresh, "it is refreshed");
			const [first, second] = await Promise.all([one.services.sessions.purge(), two.services.sessions.purge()]);
			t.equal(first + second, 1, "one of them puts it off");
			t.equal((await one.services.sessions.list(ada)).length, 1);
		});
});

t.test("housekeeping ends with the step that is under way, and a step that fails is tried again", async (t) => {
	const lines: string[] = [];
	const log = pino({}, { write: (line: string) => void lines.push(line) });
	let [steps, tries] = [0, 0];
	const slow = Promise.withResolvers<void>();
	const housekeeping = openHousekeeping({
		store: {} as Store,
		reachable: () => true,
		log,
		chores: [
			{
				name: "endless",
				of: "process",
				everySeconds: 0.001,
				run: inSteps(async () => {
					steps++;
					if (steps === 3) await slow.promise;
					return 500;
				}),
			},
			{
				name: "failing",
				of: "process",
				everySeconds: 0.001,
				run: async () => {
					tries++;
					throw new Error("no store");
				},
			},
		],
	});
	await until("both chores have run", () => steps === 3 && tries >= 3);
	let closed = false;
	const closing = housekeeping.close().then(() => {
		closed = true;
	});
	await new Promise((resolve) => setImmediate(resolve));
	t.notOk(closed, "a step is under way");
	slow.resolve();
	await closing;
	t.equal(steps, 3, "no step after the end");
	t.match(lines[0], /"chore":"failing".*housekeeping failed/);
});

const known = {} as Record<"out" | "spent" | "third" | "single" | "kept", { access: string; refresh: string }>;
