/** The counts are the store's: shared, kept, let go in time; without it nobody guesses. Rows R03, R04, R06, R13, R14. */
import { sql } from "kysely";
import t from "tap";
import { form, goodPassword, testApp } from "../support/app.ts";
import { burn, from, limited, spent } from "../support/guesses.ts";
import { testSecret } from "../support/settings.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

/** Limits that no passing second moves: an address waits for 15 minutes. */
const settings = { LOGIN_ADDRESS_FAILURES: "10" };

onEachStore((store, open) => {
	t.test(
		`R03 and R04 on ${store}: replicas count together, and one that starts anew has forgotten nothing`,
		async (t) => {
			const location = await open(t);
			const one = await limited(t, { location, settings });
			const two = await limited(t, { location, settings, clock: one.clock });
			const statuses = [];
			for (let count = 0; count < 14; count++)
				statuses.push(
					(await from(count % 2 ? one : two, "203.0.113.1", `name${count}`, `wrong password ${count}`)).statusCode,
				);
			t.same(statuses, [...Array(10).fill(401), ...Array(4).fill(429)]);
			t.equal(spent(one) + spent(two), 10);
			const restarted = await limited(t, { location, settings, clock: one.clock });
			const answer = await from(restarted, "203.0.113.1", "root", goodPassword);
			t.equal(answer.statusCode, 429);
			t.ok(Number(answer.headers["retry-after"]) > 890);
			t.equal(spent(restarted), 0);
		},
	);

	t.test(`R13 on ${store}: rows go once their tries are forgotten, and live ones stay`, async (t) => {
		const house = await limited(t, { store });
		const { db } = house.services.store;
		const rows = async () =>
			Number((await db.selectFrom("login_tries").select(db.fn.countAll().as("count")).executeTakeFirstOrThrow()).count);
		const now = await house.services.store.now();
		for (const [name, end] of [
			["over", now - 1],
			["live", now + 1000],
		] as const)
			for (let step = 0; step < 6; step++)
				await db
					.insertInto("login_tries")
					.values(
						Array.from({ length: 200 }, (_, count) => ({
							bucket: `${name}:${step}:${count}`,
							forgotten_at: end,
							retry_at: 0,
							marks: 0,
						})),
					)
					.execute();
		const steps: number[] = [];
		while (steps.at(-1) !== 0) steps.push(await house.services.limits.purge());
		t.same(steps, [500, 500, 200, 0]);
		t.equal(await rows(), 1200);
	});

	t.test(`R14 on ${store}: where the store cannot count, nobody guesses: 503, and no hash`, async (t) => {
		const location = await open(t);
		const house = await limited(t, { location });
		await house.addUser("ada");
		const other = await limited(t, { location, clock: house.clock });
		const { db } = other.services.store;
		// Somebody else holds what a try is counted in: accounts can still be read.
		await db.transaction().execute(async (transaction) => {
			if (store === "postgres") await sql`lock table login_tries in exclusive mode`.execute(transaction);
			const answer = await from(house, "203.0.113.1", "ada", goodPassword);
			t.match(answer.json(), { statusCode: 503, code: "STORE_UNAVAILABLE" });
			t.ok(answer.headers["retry-after"]);
			t.equal(spent(house), 0);
		});
		t.equal((await from(house, "203.0.113.1", "ada", goodPassword)).statusCode, 200, "afterwards it goes on");
	});
});

t.test("R13: what a try leaves goes in two hours, however many names are tried", async (t) => {
	const house = await limited(t);
	const count = async () => (await house.services.store.db.selectFrom("login_tries").selectAll().execute()).length;
	for (let turn = 0; turn < 300; turn++)
		await from(house, `198.18.${turn % 200}.1`, `name${turn}`, `wrong password ${turn}`);
	t.ok((await count()) > 500);
	house.clock.advance(7201);
	while ((await house.services.limits.purge()) > 0);
	t.equal(await count(), 0);
});

t.test("R06: who is no trusted proxy cannot choose its address", async (t) => {
	for (const trusted of ["", "10.0.0.0/8"]) {
		const house = await limited(t, { settings: { ...settings, TRUST_PROXY: trusted } });
		const headers = (count: number) =>
			[
				{ "x-forwarded-for": `198.18.0.${count}` },
				{ forwarded: `for=198.18.0.${count}` },
				{ "x-real-ip": `198.18.0.${count}` },
				{ x_forwarded_for: `198.18.0.${count}` },
				{ "cf-connecting-ip": `198.18.0.${count}` },
				{ "x-forwarded-for": [`198.18.0.${count}`, `198.18.1.${count}`] },
			][count % 6] ?? {};
		const statuses = [];
		for (let count = 0; count < 12; count++) {
			const { payload, headers: type } = form({ username: `name${count}`, password: `wrong password ${count}` });
			const more = { ...type, ...headers(count) } as Record<string, string>;
			statuses.push((await house.app.inject({ method: "POST", url: "/login", payload, headers: more })).statusCode);
		}
		t.same(statuses, [...Array(10).fill(401), 429, 429], `TRUST_PROXY=${trusted}`);
		t.notMatch(house.rawLog(), /198\.18/);
	}
});

t.test("R06: behind trusted proxies the right-most address that is none of them counts", async (t) => {
	const house = await limited(t, { settings: { ...settings, TRUST_PROXY: "127.0.0.1,10.0.0.0/8" } });
	const statuses = [];
	for (let count = 0; count < 12; count++)
		statuses.push(
			(await from(house, `198.18.0.${count}, 203.0.113.5, 10.0.0.${count}`, `name${count}`, `wrong password ${count}`))
				.statusCode,
		);
	t.same(statuses, [...Array(10).fill(401), 429, 429]);
	t.equal((await from(house, "203.0.113.5, 203.0.113.6, 10.0.0.1", "name")).statusCode, 401, "another one");
});

t.test("user unlock forgets an account's tries, of strangers and of devices, under both secrets", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const before = await limited(t, { location });
	const id = await before.addUser("ada");
	const device = (await from(before, "203.0.113.1", "ada", goodPassword)).json<{ device_token: string }>().device_token;
	for (let count = 0; count < 10; count++) await from(before, "203.0.113.1", "ada", "wrong password", device);
	await burn(before, "ada");
	const [old, other] = [testSecret, "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl"];
	const after = await testApp(t, { location, clock: before.clock, settings: { SECRET: other, SECRET_PREVIOUS: old } });
	t.equal((await from(before, "203.0.113.2", "ada", goodPassword)).statusCode, 429);
	await after.services.limits.unlock({ id, username: "ada" });
	t.equal((await from(before, "203.0.113.2", "ada", goodPassword)).statusCode, 200);
	const { db } = before.services.store;
	const devices = await db.selectFrom("login_tries").selectAll().where("bucket", "like", "device:%").execute();
	t.same(devices, []);
});
