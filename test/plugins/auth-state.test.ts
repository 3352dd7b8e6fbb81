/** What changes under a live token: its account, and how much the process knows of the store. */
import t from "tap";
import { openAccounts } from "../../src/services.ts";
import { type TestApp, testApp } from "../support/app.ts";
import { doors, expectAccepted, expectRefused, withAccount } from "../support/forgery.ts";
import { onEachStore } from "../support/stores.ts";
import { until } from "../support/until.ts";

/** Milliseconds until a door refuses a token that it accepts now. */
const untilRefused = ({ get }: TestApp, token: string) =>
	until("the token is refused", async () => (await get("/protected", token)).statusCode !== 200, { seconds: 5 });

onEachStore((kind) => {
	t.test(
		`${kind}: L03: what another process does to an account holds for its live tokens within a second`,
		async (t) => {
			const house = await testApp(t, { store: kind });
			// As the command line does it: another handle to the same store, which tells this process nothing.
			const commandLine = await openAccounts(house.services.config, house.clock);
			t.teardown(() => commandLine.close());
			const { users } = commandLine;
			const names = ["disabled", "deleted", "untouched"];
			const ids = await Promise.all(names.map((name) => house.addUser(name)));
			const [disabled, deleted, untouched] = ids as [string, string, string];
			const tokens = new Map(ids.map((id) => [id, house.mint(house.claims(id))]));
			const tokenOf = (id: string) => tokens.get(id) as string;
			for (const id of ids) await expectAccepted(t, house, tokenOf(id), id, "before");
			const sessionToken = await house.tokenFor("disabled");

			await users.setDisabled(disabled, true);
			const first = await untilRefused(house, tokenOf(disabled));
			t.ok(first <= 1000, `disabled: refused after ${Math.round(first)} ms`);
			await users.delete(await users.getByName("deleted"));
			const second = await untilRefused(house, tokenOf(deleted));
			t.ok(second <= 1000, `deleted: refused after ${Math.round(second)} ms`);

			for (const id of [disabled, deleted])
				await expectRefused(t, house, tokenOf(id), "remembered", /its session .* or its account was ended/);
			for (const id of [disabled, deleted])
				await expectRefused(t, house, house.mint(house.claims(id)), "never seen before", /or its account was ended/);
			await expectAccepted(t, house, tokenOf(untouched), untouched, "everybody else's");
			t.equal((await house.login("disabled")).statusCode, 401, "no new token either");
			t.equal((await house.login("deleted")).statusCode, 401);

			await users.setDisabled(disabled, false);
			await house.services.changes.poll();
			await expectAccepted(t, house, tokenOf(disabled), disabled, "after it was enabled again");
			await expectRefused(t, house, sessionToken, "its session of before has ended", /its session .* was ended/);
		},
	);
});

t.test("no token is accepted on knowledge that is too old: 503 with Retry-After, and the rest goes on", async (t) => {
	const house = await withAccount(t);
	const token = house.mint(house.good);
	await expectAccepted(t, house, token, house.id, "remembered");
	const { fresh } = house.services.changes;
	house.services.changes.fresh = () => false;
	for (const sent of [token, house.mint({ ...house.good, jti: "unseen" }), "garbage"])
		for (const door of doors) {
			const answer = await house.get(door, sent);
			t.match(answer, { statusCode: 503, headers: { "retry-after": /^\d+$/ } }, door);
			t.equal(answer.json().code, "STORE_UNAVAILABLE");
		}
	t.equal((await house.get("/readyz")).statusCode, 503, "no traffic, please");
	for (const url of ["/livez", "/.well-known/jwks.json"]) t.equal((await house.get(url)).statusCode, 200, url);
	house.services.changes.fresh = fresh;
	await expectAccepted(t, house, token, house.id, "once it is known again");
});

t.test("a request that meets a frozen process waits for what it may have missed", async (t) => {
	const house = await withAccount(t);
	const token = house.mint(house.good);
	await expectAccepted(t, house, token, house.id, "remembered");
	let release = () => {};
	let held: Promise<void> | undefined = new Promise((resolve) => {
		release = resolve;
	});
	house.services.changes.hold = () => held;
	let answered = false;
	const waiting = house.get("/protected", token).finally(() => {
		answered = true;
	});
	await house.get("/livez");
	t.notOk(answered, "it is held");
	// What the poll brings: the account is disabled.
	await house.services.users.setDisabled(house.id, true);
	await house.services.revocations.loadAccounts();
	held = undefined;
	release();
	t.equal((await waiting).statusCode, 401, "and decided on the new knowledge");
});
