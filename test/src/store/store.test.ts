/** What the store promises on SQLite and on PostgreSQL alike. */
import { sql } from "kysely";
import t, { type Test } from "tap";
import { errors } from "../../../src/errors.ts";
import { isUniqueViolation, openStore, type Slot } from "../../../src/store/store.ts";
import { onEachStore, versionsOf } from "../../support/stores.ts";

const clock = { now: () => 1_800_000_000 };

const user = (id: string, username = id) => ({
	id,
	username,
	password_hash: "hash",
	password_scheme: "bcrypt" as const,
	password_changed_at: 4_102_444_800,
	disabled_at: null,
	created_at: 4_102_444_800,
});

const key = (kid: string, state: "active" | "retiring") => ({
	kid,
	algorithm: "ES256",
	state,
	private_key_sealed: "sealed",
	created_at: 1,
	signs_at: 1,
	ends_at: null,
	token_seconds: 900,
});

onEachStore((kind, open) => {
	async function migrated(t: Test) {
		const store = await openStore({ ...(await open(t)), clock });
		t.teardown(() => store.close());
		await store.migrate();
		return store;
	}

	t.test(`${kind}: a username belongs to one account`, async (t) => {
		const { db } = await migrated(t);
		await db.insertInto("users").values(user("1", "ada")).execute();
		for (const second of [user("2", "ada"), user("1", "bob")]) {
			const error = await db
				.insertInto("users")
				.values(second)
				.execute()
				.catch((error: unknown) => error);
			t.ok(isUniqueViolation(error), "a unique violation");
			t.not((error as { code: string }).code, "STORE_UNAVAILABLE");
		}
	});

	t.test(`${kind}: a prepared statement takes its values, and the time, anew on each call`, async (t) => {
		let now = 1_800_000_000;
		const store = await openStore({ ...(await open(t)), clock: { now: () => now } });
		t.teardown(() => store.close());
		await store.migrate();
		for (const id of ["ada", "bob"]) await store.db.insertInto("users").values(user(id)).execute();
		const find = store.prepare((slot: Slot<{ id: string; username: string }>) =>
			store.db
				.selectFrom("users")
				.select(["username", store.nowExpression().as("now")])
				.where("id", "=", slot("id"))
				.where("username", "=", slot("username")),
		);
		const [first] = await find({ id: "ada", username: "ada" });
		now += 3600;
		const [second] = await find({ username: "bob", id: "bob" });
		t.match([first, second], [{ username: "ada" }, { username: "bob" }]);
		if (kind === "sqlite") t.same([first?.now, second?.now], [now - 3600, now]);
		else t.ok(Math.abs(Number(second?.now) - Date.now() / 1000) < 5, "PostgreSQL's own");
		t.same(
			await find({ id: "ada", username: "bob" }),
			[],
			"no value stays from an earlier call, or takes another's place",
		);
		const both = await Promise.all([find({ id: "ada", username: "ada" }), find({ id: "bob", username: "bob" })]);
		t.same(
			both.flat().map(({ username }) => username),
			["ada", "bob"],
			"nor from one beside it",
		);
	});

	t.test(`${kind}: other refusals are no unique violations`, async (t) => {
		const { db } = await migrated(t);
		const refused = [
			db.insertInto("user_roles").values({ user_id: "nobody", role: "user" }),
			db.insertInto("users").values({ ...user("1"), username: null as unknown as string }),
			db.insertInto("users").values({ ...user("1"), created_at: "soon" as unknown as number }),
		];
		for (const query of refused) {
			const error = await query.execute().catch((error: unknown) => error);
			t.type(error, Error);
			t.notOk(isUniqueViolation(error));
			t.not((error as { code: string }).code, "STORE_UNAVAILABLE");
		}
		t.notOk(isUniqueViolation(undefined));
		t.notOk(isUniqueViolation(new errors.STORE_UNAVAILABLE()));
		const error = await sql`select * from nowhere`.execute(db).catch((error: unknown) => error);
		t.match(error, { message: /nowhere/ });
		t.not((error as { code: string }).code, "STORE_UNAVAILABLE");
	});

	t.test(`${kind}: only one signing key is active`, async (t) => {
		const { db } = await migrated(t);
		const insert = (row: ReturnType<typeof key>) => db.insertInto("signing_keys").values(row).execute();
		await insert(key("a", "retiring"));
		await insert(key("b", "retiring"));
		await insert(key("c", "active"));
		const error = await insert(key("d", "active")).catch((error) => error);
		t.ok(isUniqueViolation(error));
	});

	t.test(`${kind}: a user's roles go with the user`, async (t) => {
		const { db } = await migrated(t);
		await db.insertInto("users").values(user("1")).execute();
		await db.insertInto("user_roles").values({ user_id: "1", role: "admin" }).execute();
		await db.deleteFrom("users").where("id", "=", "1").execute();
		t.same(await db.selectFrom("user_roles").selectAll().execute(), []);
	});

	t.test(`${kind}: times and counts past 2038 are numbers`, async (t) => {
		const { db } = await migrated(t);
		await db.insertInto("users").values(user("1")).execute();
		const row = await db
			.selectFrom("users")
			.select(["created_at", "disabled_at"])
			.select(({ fn }) => fn.countAll().over().as("count"))
			.executeTakeFirstOrThrow();
		t.equal(row.created_at, 4_102_444_800);
		t.equal(row.disabled_at, null);
		t.equal(row.count, 1);
	});

	t.test(`${kind}: what a failed transaction did is undone, and nothing of its neighbours`, async (t) => {
		const { db } = await migrated(t);
		const outcomes = await Promise.allSettled(
			Array.from({ length: 12 }, (_, n) =>
				db.transaction().execute(async (transaction) => {
					await transaction
						.insertInto("users")
						.values(user(`a${n}`))
						.execute();
					await new Promise(setImmediate);
					await transaction
						.insertInto("users")
						.values(user(`b${n}`))
						.execute();
					if (n % 2) throw new Error(`refused ${n}`);
				}),
			),
		);
		t.equal(outcomes.filter(({ status }) => status === "rejected").length, 6);
		const rows = await db.selectFrom("users").select("id").execute();
		t.same(rows.map(({ id }) => id).sort(), [0, 2, 4, 6, 8, 10].flatMap((n) => [`a${n}`, `b${n}`]).sort());
	});

	t.test(`${kind}: a statement outside of a transaction does not fall into one`, async (t) => {
		const { db } = await migrated(t);
		const opened = Promise.withResolvers<void>();
		const undone = db.transaction().execute(async (transaction) => {
			await transaction.insertInto("users").values(user("in")).execute();
			opened.resolve();
			await new Promise(setImmediate);
			throw new Error("undo");
		});
		await opened.promise;
		await Promise.all([t.rejects(undone, { message: "undo" }), db.insertInto("users").values(user("out")).execute()]);
		const rows = await db.selectFrom("users").select("id").execute();
		t.same(
			rows.map(({ id }) => id),
			["out"],
		);
	});

	t.test(`${kind}: a version counts every committed change and no other`, async (t) => {
		const store = await migrated(t);
		t.same(await versionsOf(store), { accounts: 0, keys: 0, revocations: 0 });
		await Promise.all(
			Array.from({ length: 10 }, () => store.transaction((transaction) => store.announce(transaction, "accounts"))),
		);
		t.same(await versionsOf(store), { accounts: 10, keys: 0, revocations: 0 });
		await t.rejects(
			store.transaction(async (transaction) => {
				await store.announce(transaction, "keys");
				throw new Error("undo");
			}),
			{ message: "undo" },
		);
		t.same(await versionsOf(store), { accounts: 10, keys: 0, revocations: 0 });
		await t.rejects(
			store.db.transaction().execute((transaction) => store.announce(transaction, "keys")),
			{ message: /needs a transaction of store.transaction/ },
			"of a transaction of another kind nobody would be told",
		);
		t.same(await versionsOf(store), { accounts: 10, keys: 0, revocations: 0 });
	});

	t.test(`${kind}: versions commit in order: a second writer waits for the first`, async (t) => {
		const store = await migrated(t);
		const order: string[] = [];
		const announced = Promise.withResolvers<void>();
		const first = store.transaction(async (transaction) => {
			await store.announce(transaction, "accounts");
			announced.resolve();
			// Long enough for the second writer to overtake, if anything let it.
			await new Promise((resolve) => setTimeout(resolve, 100));
			order.push("first is done");
		});
		await announced.promise;
		const second = store.transaction(async (transaction) => {
			await store.announce(transaction, "accounts");
			order.push("second has its version");
		});
		await Promise.all([first, second]);
		t.same(order, ["first is done", "second has its version"]);
	});

	t.test(`${kind}: announcing a topic without a row fails instead of passing in silence`, async (t) => {
		const store = await migrated(t);
		await store.db.deleteFrom("changes").execute();
		await t.rejects(
			store.transaction((transaction) => store.announce(transaction, "keys")),
			{ message: /no row for keys/ },
		);
	});

	t.test(`${kind}: SQL in a value stays a value`, async (t) => {
		const { db } = await migrated(t);
		const texts = [
			"'; drop table users; --",
			"' or '1'='1",
			'"; delete from users; --',
			"$1 ? :name @name",
			"\\'; select pg_sleep(9); --",
		];
		for (const text of texts) await db.insertInto("users").values(user(text)).execute();
		for (const text of texts) {
			const rows = await db.selectFrom("users").select("id").where("username", "=", text).execute();
			t.same(
				rows.map(({ id }) => id),
				[text],
			);
		}
	});

	t.test(`${kind}: now() is in whole seconds`, async (t) => {
		const store = await migrated(t);
		const now = await store.now();
		t.equal(now, Math.floor(now));
		if (kind === "sqlite") t.equal(now, clock.now(), "the injected clock");
		else t.ok(Math.abs(now - Date.now() / 1000) < 5, "the server's clock");
	});
});
