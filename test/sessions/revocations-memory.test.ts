/** The list of what is revoked, between the store and the memory of each process. Row V10. */
import { sql } from "kysely";
import t, { type Test } from "tap";
import type { Principal } from "../../src/principal.ts";
import { createRevocations, type Revocations } from "../../src/revocations.ts";
import { openStore, type Store } from "../../src/store/store.ts";
import { createFakeClock, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";
import { beginSession, bulk, passTime, post } from "../support/sessions.ts";
import { onEachStore, openStoreLocation, type StoreLocation, versionsOf } from "../support/stores.ts";

const many = rounds(1_000_000);
const margin = 30 + 300;

const token = (tokenId: string, sessionId = "none") => ({ id: "nobody", sessionId, tokenId }) as Principal;

/** Loads what the store has by now. */
const loadAll = async (store: Store, revocations: Revocations) =>
	revocations.load((await versionsOf(store)).revocations, false);

/** Writes many ids at once, as many logouts would: all of one `seq` or each of its own. */
async function fill(
	location: Pick<StoreLocation, "databaseUrl">,
	store: Store,
	{ count, prefix, seq, endsAt }: { count: number; prefix: string; seq: "one" | "each"; endsAt: number },
): Promise<void> {
	const numbers =
		store.kind === "sqlite"
			? sql`(with recursive n(i) as (select 1 union all select i + 1 from n where i < ${sql.lit(count)}) select i from n)`
			: sql`(select i from generate_series(1, ${sql.lit(count)}) as s(i))`;
	const { revocations } = await versionsOf(store);
	const own = seq === "one" ? sql.lit(revocations + 1) : sql`${sql.lit(revocations)} + i`;
	const rows = sql`insert into revocations (id, ends_at, seq)
		select ${sql.lit(prefix)} || i, ${sql.lit(endsAt)}, ${own} from ${numbers} as numbers`;
	await bulk(location, store, rows);
	const version = revocations + (seq === "one" ? 1 : count);
	await store.db.updateTable("changes").set({ version }).where("topic", "=", "revocations").execute();
}

onEachStore((kind, open) => {
	const openEmpty = async (t: Test) => {
		const location = await open(t);
		const store = await openStore({ ...location, clock: createFakeClock() });
		await store.migrate();
		t.teardown(() => store.close());
		return { location, store };
	};

	t.test(`${kind}: V10: ${many} revoked ids survive a restart, and are gone after their time`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const clock = createFakeClock();
		let access = "";
		await t.test("before the restart", async (t) => {
			const house = await testApp(t, { store: kind, location, clock });
			const pair = await beginSession(house, await house.addUser("ada"));
			await post(house, "/logout", {}, pair.access);
			await fill(location, house.services.store, {
				count: many,
				prefix: "id-",
				seq: "each",
				endsAt: clock.now() + 600,
			});
			access = pair.access;
		});
		const house = await testApp(t, { store: kind, location, clock });
		const { revocations, sessions, store } = house.services;
		t.equal(revocations.size(), many + 1, "loaded page by page, each within the time a statement may take");
		t.equal((await house.get("/protected", access)).statusCode, 401);
		for (const id of [1, 9_999, 10_000, 10_001, many - 1, many]) t.ok(revocations.has(token(`id-${id}`)), `${id}`);
		await revocations.forget();
		t.equal(revocations.size(), many + 1, "nothing is forgotten before its time");
		t.equal(await revocations.purge(), 0);
		await passTime(house, 900 + margin + 10);
		// In memory the times are the ones that were loaded: on PostgreSQL they are moved by loading them again.
		const later = kind === "sqlite" ? revocations : createRevocations({ store });
		if (kind === "postgres") await loadAll(store, later);
		await later.forget();
		t.equal(later.size(), 0, "the memory is empty");
		// Without the pauses between two steps, which would add up.
		let gone = 0;
		for (let size = 1; size > 0; gone += size) {
			size = await revocations.purge();
			if (size > 500) t.fail(`a step of ${size}`);
		}
		t.equal(gone, many + 1, "in steps");
		const { rows } = await sql`select 1 from revocations`.execute(store.db);
		t.equal(rows.length, 0, "the table is empty");
		await sessions.end("none");
	});

	t.test(`${kind}: loading in pages misses nothing, also where thousands share one version`, async (t) => {
		const { location, store } = await openEmpty(t);
		const revocations = createRevocations({ store });
		const endsAt = (await store.now()) + 1000;
		await fill(location, store, { count: 25_000, prefix: "one-", seq: "one", endsAt });
		await loadAll(store, revocations);
		t.equal(revocations.size(), 25_000);
		await fill(location, store, { count: 10_000, prefix: "two-", seq: "one", endsAt });
		await fill(location, store, { count: 10_000, prefix: "three-", seq: "each", endsAt });
		await Promise.all([loadAll(store, revocations), loadAll(store, revocations), loadAll(store, revocations)]);
		t.equal(revocations.size(), 45_000, "three loads at once");
		for (const id of ["one-1", "one-25000", "two-10000", "three-1", "three-10000"])
			t.ok(revocations.has(token(id)), id);
		t.notOk(revocations.has(token("one-25001")));
		t.ok(revocations.has(token("unknown", "one-5")), "a sid closes as a jti does");
	});

	t.test(`${kind}: fault 7: anew, everything is read, also what has a number that was passed`, async (t) => {
		const { location, store } = await openEmpty(t);
		const revocations = createRevocations({ store });
		const endsAt = (await store.now()) + 1000;
		await fill(location, store, { count: 10, prefix: "known-", seq: "each", endsAt });
		await loadAll(store, revocations);
		// As another server has it, on which others were revoked under the same numbers.
		await sql`delete from revocations`.execute(store.db);
		await store.db.updateTable("changes").set({ version: 0 }).where("topic", "=", "revocations").execute();
		await fill(location, store, { count: 10, prefix: "other-", seq: "each", endsAt });
		await loadAll(store, revocations);
		t.notOk(revocations.has(token("other-1")), "it was passed already");
		await revocations.load((await versionsOf(store)).revocations, true);
		t.ok(revocations.has(token("other-1")));
		t.ok(revocations.has(token("known-1")), "what it has once known it keeps");
	});

	t.test(`${kind}: V01: of two ends of one id the later one counts, whichever is written last`, async (t) => {
		const { store } = await openEmpty(t);
		const revocations = createRevocations({ store });
		const now = await store.now();
		for (const expiresAt of [now + 1700, now + 900]) await revocations.revokeToken({ tokenId: "one", expiresAt });
		for (const expiresAt of [now + 900, now + 1700]) await revocations.revokeToken({ tokenId: "two", expiresAt });
		const rows = await store.db.selectFrom("revocations").select(["id", "ends_at"]).orderBy("id").execute();
		t.same(
			rows.map(({ id, ends_at }) => [id, ends_at >= now + 1700]),
			[
				["one", true],
				["two", true],
			],
		);
	});

	t.test(`${kind}: what was once known is kept until its time, whatever becomes of the store`, async (t) => {
		const { store } = await openEmpty(t);
		const revocations = createRevocations({ store });
		const now = await store.now();
		await revocations.revokeToken({ tokenId: "first", expiresAt: now + 900 });
		await revocations.revokeToken({ tokenId: "second", expiresAt: now + 900 });
		await loadAll(store, revocations);
		const other = createRevocations({ store });
		await loadAll(store, other);
		t.ok(other.has(token("first")) && other.has(token("second")), "another process loads both");

		// The backup is from before both: the versions count on from there.
		await store.db.deleteFrom("revocations").execute();
		await store.db.updateTable("changes").set({ version: 0 }).where("topic", "=", "revocations").execute();
		await other.revokeToken({ tokenId: "third", expiresAt: now + 900 });
		await loadAll(store, revocations);
		t.ok(revocations.has(token("third")), "what came after the restore is found");
		t.ok(revocations.has(token("first")), "and what came before is not given up");
		await revocations.forget();
		t.equal(revocations.size(), 3);
	});

	t.test(`${kind}: who revokes knows it at once, and only if it was committed`, async (t) => {
		const { store } = await openEmpty(t);
		const revocations = createRevocations({ store });
		const now = await store.now();
		// The read that follows may fail: the answer of a logout must not depend on it.
		const silent = createRevocations({ store: { ...store, news: () => Promise.reject(new Error("no store")) } });
		await silent.revokeToken({ tokenId: "a", expiresAt: now + 900 });
		t.ok(silent.has(token("a")));
		const broken = createRevocations({ store: { ...store, announce: () => Promise.reject(new Error("no store")) } });
		await t.rejects(broken.revokeToken({ tokenId: "b", expiresAt: now + 900 }), { message: "no store" });
		t.notOk(broken.has(token("b")), "not where it was rolled back");
		await loadAll(store, revocations);
		t.strictSame([revocations.has(token("a")), revocations.has(token("b"))], [true, false]);
	});

	t.test(`${kind}: an id is kept for as long as a token with it can live on any clock`, async (t) => {
		const house = await testApp(t, {
			store: kind,
			settings: { ACCESS_TOKEN_SECONDS: "60", REFRESH_GRACE_SECONDS: "60" },
		});
		const { id, access } = await beginSession(house, await house.addUser("ada"));
		const began = await house.services.store.now();
		await post(house, "/logout", {}, access);
		const row = await house.services.store.db.selectFrom("revocations").selectAll().where("id", "=", id).execute();
		t.equal(row.length, 1);
		// Issued at the end of the grace time, by a clock that is ahead, and borne for the tolerance.
		t.ok((row[0]?.ends_at ?? 0) >= began - 2 + 60 + 60 + margin);
		t.ok((row[0]?.ends_at ?? 0) <= began + 60 + 60 + margin, "and no longer");
	});
});
