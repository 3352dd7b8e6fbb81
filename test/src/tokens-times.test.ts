/** The times in a token, through the front door and with a clock that moves when told. */
import t from "tap";
import { expectAccepted, expectRefused, withAccount } from "../support/forgery.ts";

t.test("T09: exp holds with a tolerance of 30 seconds, at first sight and in the memory alike", async (t) => {
	const built = await withAccount(t);
	const { good, id, mint, clock } = built;
	const now = clock.now();
	const accepts = (exp: number, label: string) => expectAccepted(t, built, mint({ ...good, exp }), id, label);
	const refuses = (exp: number, label: string) =>
		expectRefused(t, built, mint({ ...good, exp }), label, /it has expired/);
	await accepts(now + 2, "exp in two seconds");
	await accepts(now - 29, "29 seconds after exp, at first sight");
	await refuses(now - 30, "30 seconds after exp");
	await refuses(now - 31, "31 seconds after exp");
	await refuses(0, "1970");

	const remembered = mint({ ...good, exp: now + 2 });
	await expectAccepted(t, built, remembered, id, "before exp");
	clock.advance(2 + 29);
	await expectAccepted(t, built, remembered, id, "29 seconds after exp, remembered");
	clock.advance(1);
	for (const time of ["first", "second"])
		await expectRefused(t, built, remembered, `30 seconds after exp, remembered, the ${time} time`, /it has expired/);
	// A day forward and an hour back: the clock of the request decides.
	clock.advance(-3600);
	await expectAccepted(t, built, mint({ ...built.claims(id) }), id, "issued by the clock that went back");
	clock.advance(86_400);
	await expectRefused(t, built, mint(good), "after a day", /it has expired/);
});

t.test("T10, T18: a token from the future is refused, and accepted once its time has come", async (t) => {
	const built = await withAccount(t);
	const { good, id, mint, clock } = built;
	const now = clock.now();
	for (const name of ["nbf", "iat"]) {
		const within = mint({ ...good, [name]: now + 30 });
		await expectAccepted(t, built, within, id, `${name} within the tolerance`);
		for (const ahead of [31, 35, 3600])
			await expectRefused(
				t,
				built,
				mint({ ...good, [name]: now + ahead }),
				`${name} ${ahead} s ahead`,
				/not valid yet/,
			);
	}
	const early = mint({ ...good, nbf: now + 35 });
	await expectRefused(t, built, early, "nbf 35 s ahead", /not valid yet/);
	clock.advance(5);
	await expectAccepted(t, built, early, id, "five seconds later");
});

t.test("T17: a time that is not a number of this era is refused", async (t) => {
	const built = await withAccount(t);
	const values = ['"9999999999"', "null", "true", "[]", "{}", "[9999999999]", "1e20", "-1", "1e400", "-1e400", '"NaN"'];
	values.push('"Infinity"', '"2099-01-01"', '""', "-0.5", "9".repeat(400), '{"valueOf":9999999999}');
	for (const name of ["exp", "nbf", "iat", "auth_time"])
		for (const value of values) {
			const payload = JSON.stringify({ ...built.good, [name]: "HERE" }).replace('"HERE"', value);
			const label = `${name} ${value.slice(0, 30)}`;
			await expectRefused(t, built, built.mint(payload), label, /is not a time|expired|not valid yet/);
		}
	for (const value of ["NaN", "Infinity", "0x7fffffff", "+1", "1_000"]) {
		const payload = JSON.stringify({ ...built.good, exp: "HERE" }).replace('"HERE"', value);
		await expectRefused(t, built, built.mint(payload), `exp ${value} is not even JSON`);
	}
});
