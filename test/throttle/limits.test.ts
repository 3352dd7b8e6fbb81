/** Guessing, through the front door: what is limited, and that a limit says nothing of the account. Rows R01, R02, R05, R08 to R11. */
import { sql } from "kysely";
import t from "tap";
import { form, goodPassword, type TestApp } from "../support/app.ts";
import { from, limited, spent } from "../support/guesses.ts";
import { visible } from "../support/login.ts";
import { onEachStore } from "../support/stores.ts";

/** Guesses as fast as Retry-After lets, each time from another network and with another password, for so many seconds. */
async function guessFor(house: TestApp, username: string, seconds: number) {
	const end = house.clock.now() + seconds;
	const waits: number[] = [];
	let compared = 0;
	for (let count = 0; ; count++) {
		const address = `198.18.${count >> 8}.${count & 255}`;
		const { statusCode, headers } = await from(house, address, username, `wrong password ${count}`);
		if (statusCode === 401) compared++;
		else {
			const wait = Number(headers["retry-after"]);
			waits.push(wait);
			if (house.clock.now() + wait >= end) return { compared, waits };
			house.clock.advance(wait);
		}
	}
}

/** As after more tries: PostgreSQL's clock goes on, and the first delay is over with its second. */
async function lengthenWaits({ services }: TestApp) {
	const later = sql<number>`retry_at + 60`;
	await services.store.db.updateTable("login_tries").set({ retry_at: later }).where("retry_at", ">", 0).execute();
}

t.test(
	"R01: ten wrong passwords are compared at once, then the delay doubles up to 15 minutes, and a day sees 100",
	async (t) => {
		const house = await limited(t);
		await house.addUser("ada");
		const { compared, waits } = await guessFor(house, "ada", 86_400);
		t.same(waits.slice(0, 12), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
		t.ok(compared > 95 && compared <= 100, `${compared} in a day: the 101st is never compared`);
		t.equal(spent(house), compared);
		t.ok(Math.max(...waits) <= 1728, "and yet nobody waits longer than half an hour");
		const before = spent(house);
		t.equal(
			(await from(house, "203.0.113.1", "ada", goodPassword)).statusCode,
			429,
			"the right password while it is limited",
		);
		t.equal(spent(house), before, "was not compared");
		house.clock.advance(1728);
		t.equal((await from(house, "203.0.113.1", "ada", goodPassword)).statusCode, 200, "Retry-After was true");
	},
);

t.test("R01: the setting moves the start of the delay", async (t) => {
	const house = await limited(t, { settings: { LOGIN_ACCOUNT_FAILURES: "3" } });
	await house.addUser("ada");
	const statuses = [];
	for (let count = 0; count < 5; count++) statuses.push((await from(house, "203.0.113.1", "ada")).statusCode);
	t.same(statuses, [401, 401, 401, 429, 429]);
});

t.test("a good login is taken back, and gives a guesser of the same account nothing", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	for (let count = 0; count < 30; count++)
		t.equal((await from(house, "203.0.113.1", "ada", goodPassword)).statusCode, 200);
	let compared = 0;
	for (let count = 0; count < 40; count++) {
		if ((await from(house, "198.18.0.1", "ada", `wrong password ${count}`)).statusCode === 401) compared++;
		// From a new device each time, or none of its tries would count for the account.
		const { statusCode } = await from(house, "203.0.113.1", "ada", goodPassword);
		if (statusCode === 429) house.clock.advance(1);
	}
	t.ok(compared < 25, `${compared} wrong ones were compared, although the owner logged in all the time`);
});

onEachStore((store) => {
	t.test(`R02 on ${store}: of 100 guesses at once with the right one among them, ten are compared`, async (t) => {
		const house = await limited(t, { store });
		await house.addUser("ada");
		const answers = await Promise.all(
			Array.from({ length: 100 }, (_, count) =>
				from(house, `198.18.0.${count % 250}`, "ada", count === 60 ? goodPassword : `wrong password ${count}`),
			),
		);
		const count = (status: number) => answers.filter(({ statusCode }) => statusCode === status).length;
		const compared = count(401);
		// PostgreSQL's own clock goes on meanwhile: each second of a busy machine may let one more through.
		t.ok(compared >= 10 && compared <= (store === "sqlite" ? 10 : 12), `${compared} were compared`);
		t.equal(spent(house), compared);
		t.same([count(200), count(429)], [0, 100 - compared]);
		for (const { statusCode, headers } of answers) if (statusCode === 429) t.match(headers["retry-after"], /^[1-4]$/);
	});

	t.test(
		`right passwords at once, more than a limit has tries, all get in and lock nobody out, on ${store}`,
		async (t) => {
			const house = await limited(t, { store, settings: { LOGIN_ADDRESS_FAILURES: "10" } });
			const names = Array.from({ length: 12 }, (_, count) => `name${count}`);
			for (const name of ["ada", ...names]) await house.addUser(name);
			const ofOne = await Promise.all(names.map((_, count) => from(house, `198.18.${count}.1`, "ada", goodPassword)));
			t.same([...new Set(ofOne.map(({ statusCode }) => statusCode))], [200], "of one account");
			const ofMany = await Promise.all(names.map((name) => from(house, "203.0.113.1", name, goodPassword)));
			t.same([...new Set(ofMany.map(({ statusCode }) => statusCode))], [200], "from one address");
			t.equal((await from(house, "203.0.113.1", "ada")).statusCode, 401, "neither of them is locked");
			t.notMatch(house.rawLog(), /login_(account|address)_limited/);
		},
	);

	t.test(
		`a wrong password among right ones counts, and a client that hangs up has used its try, on ${store}`,
		async (t) => {
			const house = await limited(t, { store });
			await house.addUser("ada");
			const { limits } = house.services;
			const take = (count: number) =>
				limits.take(
					{
						username: "ada",
						password: `wrong password ${count}`,
						origin: { id: "a test", ip: `198.18.${count}.1` },
						device: undefined,
						userId: undefined,
						isDisabled: false,
					},
					() => {},
				);
			const tries = [];
			for (let count = 0; count < 10; count++) tries.push(await take(count));
			await lengthenWaits(house);
			const late = take(10);
			for (const attempt of tries.slice(0, 5)) await attempt.wrong();
			for (const attempt of tries.slice(5)) attempt.abandoned();
			await t.rejects(late, { code: "TOO_MANY_ATTEMPTS" }, "it waited for the others, and found them all wrong");
			t.match(
				house.logged.filter(({ event }) => event === "login_account_limited"),
				[{ seconds: 1 }],
			);
		},
	);

	t.test(
		`R10 on ${store}: who is limited costs no hash and no write, and an unknown account looks the same`,
		async (t) => {
			const house = await limited(t, { store });
			await house.addUser("ada");
			for (const name of ["ada", "nobody"])
				for (let count = 0; count < 10; count++)
					t.equal((await from(house, "203.0.113.1", name, `wrong password ${count}`)).statusCode, 401);
			await lengthenWaits(house);
			const rows = () => house.services.store.db.selectFrom("login_tries").selectAll().orderBy("bucket").execute();
			const [before, written] = [spent(house), await rows()];
			const refused = await Promise.all(["ada", "nobody", "ada"].map((name) => from(house, "203.0.113.1", name)));
			t.equal(spent(house), before);
			t.same(await rows(), written);
			const [known, unknown] = refused.map(visible);
			t.match(known, { statusCode: 429, headers: { "retry-after": /^[56]\d$/ } });
			t.match(refused[0]?.json(), { statusCode: 429, code: "TOO_MANY_ATTEMPTS" });
			const withoutWait = (answer: typeof known) => ({ ...answer, headers: { ...answer?.headers, "retry-after": "" } });
			t.same(withoutWait(known), withoutWait(unknown));
			t.notMatch(JSON.stringify(written), /ada|nobody|203\.0|wrong/, "the store holds nothing that was typed");
		},
	);

	t.test(
		`R11 on ${store}: 500 accounts from one address: a hundred are compared, the rest waits 15 minutes, and it is recorded`,
		async (t) => {
			const house = await limited(t, { store, settings: { HASH_MAX_WAIT_SECONDS: "30" } });
			const statuses: number[] = [];
			for (let count = 0; count < 500; count++)
				statuses.push((await from(house, "203.0.113.9", `name${count}`, `wrong password ${count}`)).statusCode);
			t.same([...new Set(statuses.slice(0, 100))], [401]);
			t.same([...new Set(statuses.slice(100))], [429]);
			const { headers } = await from(house, "203.0.113.9", "root", goodPassword);
			t.ok(Number(headers["retry-after"]) > 890, `Retry-After: ${headers["retry-after"]}`);
			const events = house.logged.filter(({ event }) => event === "login_address_limited");
			t.match(events, [{ address: "203.0.113.9" }], "one line, not one a refusal");
			t.equal((await from(house, "203.0.113.10", "root", goodPassword)).statusCode, 200, "others are free");
		},
	);

	t.test(`R11 on ${store}: one password over many accounts from many addresses is limited and recorded`, async (t) => {
		const house = await limited(t, { store });
		const spray = (count: number) => from(house, `198.18.${count}.1`, `name${count}`, "one password for all");
		const statuses: number[] = [];
		for (let count = 0; count < 60; count++) statuses.push((await spray(count)).statusCode);
		const compared = statuses.indexOf(429);
		t.ok(compared >= 20 && compared < 45, `${compared} were compared`);
		t.same([...new Set(statuses.slice(compared))], [429]);
		t.equal(house.logged.filter(({ event }) => event === "login_password_sprayed").length, 1);
		t.equal(
			(await from(house, "198.18.99.1", "name1", "another password")).statusCode,
			401,
			"other passwords are free",
		);
		t.notMatch(house.rawLog(), /one password for all/);
		const [event] = house.logged.filter(({ event }) => event === "login_password_sprayed");
		t.notOk("user" in (event ?? {}), "nobody is named: who was tried last is one of many");
	});

	t.test(
		`R11 on ${store}: what is kept of a wrong password does not say when it was typed, and of a right one nothing is kept`,
		async (t) => {
			const house = await limited(t, { store });
			const id = await house.addUser("ada");
			const { db } = house.services.store;
			const notes = () => db.selectFrom("login_tries").selectAll().where("bucket", "like", "password:%").execute();
			house.clock.advance(1234 - (house.clock.now() % 3600));
			await from(house, "203.0.113.1", "ada", "almost the password");
			const [note] = await notes();
			const now = await house.services.store.now();
			t.equal((note?.forgotten_at ?? 1) % 3600, 0, "it ends with a full hour");
			t.ok((note?.forgotten_at ?? 0) > now + 3500 && (note?.forgotten_at ?? 0) <= now + 7200, "an hour or two");

			await house.services.users.setDisabled(id, true);
			t.equal((await from(house, "203.0.113.1", "ada", goodPassword)).statusCode, 401);
			const kept = (await notes()).map(({ bucket }) => bucket);
			t.equal(kept.length, 2, "a row all the same, or its absence would tell that the account is disabled");
			await from(house, "203.0.113.2", "nobody", goodPassword);
			t.equal((await notes()).length, 3, "but one that stands for another password");
		},
	);
});

t.test("R11: one account that repeats one wrong password is not many", async (t) => {
	const house = await limited(t);
	for (let count = 0; count < 25; count++) {
		house.clock.advance(1728);
		t.equal((await from(house, "203.0.113.1", "nobody", "the same again")).statusCode, 401);
	}
	t.notMatch(house.rawLog(), /sprayed/);
});

t.test("a sprayed password is free again after the clock was set back, and is counted anew", async (t) => {
	const house = await limited(t);
	const spray = async (count: number) =>
		(await from(house, `198.18.${count}.1`, `name${count}`, "one password for all")).statusCode;
	for (let count = 0; count < 60; count++) await spray(count);
	t.equal(await spray(60), 429);
	house.clock.advance(-30 * 86_400);
	const statuses: number[] = [];
	for (let count = 100; count < 160; count++) statuses.push(await spray(count));
	const compared = statuses.indexOf(429);
	t.ok(compared >= 20 && compared < 45, `${compared} were compared`);
});

t.test("R05: a thousand addresses of one /64 are one, and an IPv4 address is one in both its forms", async (t) => {
	const house = await limited(t, { settings: { LOGIN_ADDRESS_FAILURES: "10" } });
	const statuses = async (addresses: string[]) => {
		const found = [];
		for (const [count, address] of addresses.entries())
			found.push(
				(await from(house, address, `name${found.length}${address.length}`, `wrong ${address} ${count}`)).statusCode,
			);
		return found;
	};
	const six = Array.from({ length: 1000 }, (_, count) =>
		count % 2 ? `2001:DB8:0:0:${count}::1` : `2001:db8::${count}`,
	);
	t.same(await statuses(six), [...Array(10).fill(401), ...Array(990).fill(429)]);
	t.same(await statuses(["2001:db8:0:1::1"]), [401], "the next /64");
	const four = Array.from(
		{ length: 12 },
		(_, count) => ["1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304"][count % 3] ?? "",
	);
	t.same(await statuses(four), [...Array(10).fill(401), 429, 429]);
});

t.test(
	"R05: a proxy that names ports names the same addresses, and one that names none is warned of once",
	async (t) => {
		const settings = { LOGIN_ADDRESS_FAILURES: "10", TRUST_PROXY: "127.0.0.1,10.0.0.0/8" };
		const house = await limited(t, { settings });
		let count = 0;
		const status = async (address: string) => {
			count += 1;
			return (await from(house, address, `name${count}`, `wrong password ${count}`)).statusCode;
		};
		const forms = [
			(port: number) => `198.18.0.1:${port}`,
			(port: number) => `198.18.0.1:${port}, 10.0.0.2:${port}`,
			(port: number) => `[2001:db8::1]:${port}`,
			() => "[2001:db8::1]",
		];
		const of = async (numbers: number[]) => {
			const statuses = [];
			for (let turn = 0; turn < 12; turn++)
				statuses.push(await status(forms[numbers[turn % 2] ?? 0]?.(5000 + turn) ?? ""));
			return statuses;
		};
		const ten = [...Array(10).fill(401), 429, 429];
		t.same(await of([0, 1]), ten);
		t.same(await of([2, 3]), ten);
		t.equal(await status("198.18.0.2:5000"), 401, "the next address");
		t.notMatch(house.rawLog(), /names no address/);
		for (const text of ["unknown", "_hidden", "1.2.3.4.5:80"]) await status(text);
		t.equal(house.logged.filter(({ msg }) => /names no address/.test(String(msg))).length, 1);
	},
);

t.test("R09: every spelling of a name is one bucket", async (t) => {
	const house = await limited(t);
	const spellings = ["josé", "JOSÉ", "jose\u0301", "ＪＯＳé", "José"];
	const statuses = [];
	for (let count = 0; count < 12; count++)
		statuses.push(
			(await from(house, `198.18.0.${count}`, spellings[count % 5] ?? "", `wrong password ${count}`)).statusCode,
		);
	t.same(statuses, [...Array(10).fill(401), 429, 429]);
	for (const other of ["josé ", "josé\0"])
		t.equal((await from(house, "198.18.1.1", other)).statusCode, 400, "nobody's name");
});

t.test("R08: every door that takes a password counts in the same place", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const token = await house.tokenFor("ada");
	const at = (url: string, fields: Record<string, string>) =>
		house.app.inject({
			method: "POST",
			url,
			payload: form(fields).payload,
			headers: { ...form({}).headers, authorization: `Bearer ${token}` },
		});
	const doors = [
		() => from(house, "203.0.113.1", "ada"),
		() => at("/password", { current_password: "wrong password", new_password: "walnut harbour sixteen lanterns" }),
		() => at("/reauthenticate", { password: "wrong password" }),
	];
	const statuses = [];
	for (let count = 0; count < 10; count++) statuses.push((await doors[count % 3]?.())?.statusCode);
	t.same([...new Set(statuses)].sort(), [401, 403]);
	const before = spent(house);
	for (const door of doors) t.equal((await door()).statusCode, 429);
	t.equal((await at("/reauthenticate", { password: goodPassword })).statusCode, 429);
	t.equal(spent(house), before);
});

t.test("LOGIN_LIMITS=off limits nothing, and writes nothing", async (t) => {
	const house = await limited(t, { settings: { LOGIN_LIMITS: "off" } });
	for (let count = 0; count < 30; count++) t.equal((await from(house, "203.0.113.1", "nobody")).statusCode, 401);
	t.same(await house.services.store.db.selectFrom("login_tries").selectAll().execute(), []);
});
