/** Known devices: tries of their own, so that nobody locks the owner out, and nothing more than that. Row R07. */
import t from "tap";
import { errors } from "../../src/errors.ts";
import { form, goodPassword, type TestApp } from "../support/app.ts";
import { burn, from, limited, spent } from "../support/guesses.ts";
import { createJar, sameOrigin } from "../support/jar.ts";
import { visible } from "../support/login.ts";
import { post } from "../support/sessions.ts";
import { testSecret } from "../support/settings.ts";
import { onEachStore, openStoreLocation } from "../support/stores.ts";

const nextPassword = "walnut harbour sixteen lanterns";
const daySeconds = 86_400;

/** Logs in and answers the device's token. */
async function deviceOf(house: TestApp, username: string, device?: string): Promise<string> {
	const answer = await from(house, "203.0.113.1", username, goodPassword, device);
	return answer.json<{ device_token: string }>().device_token;
}

onEachStore((store) => {
	t.test(
		`R07 on ${store}: while strangers have used up the account's tries, its owner gets in from a known device`,
		async (t) => {
			const house = await limited(t, { store, settings: { LOGIN_ADDRESS_FAILURES: "10" } });
			await house.addUser("ada");
			const device = await deviceOf(house, "ada");
			for (let count = 0; count < 40; count++)
				await from(house, "203.0.113.1", count % 2 ? "ada" : `name${count}`, `wrong password ${count}`);
			t.equal(
				(await from(house, "203.0.113.1", "ada", goodPassword)).statusCode,
				429,
				"a device that nobody knows waits",
			);
			t.equal(
				(await from(house, "203.0.113.1", "ada", goodPassword, device)).statusCode,
				200,
				"even from the guesser's address",
			);
			t.equal(
				(await from(house, "203.0.113.1", "ada", "wrong password", device)).statusCode,
				401,
				"but not without the password",
			);
			t.equal((await from(house, "203.0.113.1", "ada", "", device)).statusCode, 400);
		},
	);
});

t.test("R07: ten thousand guesses lock nobody out, wherever they come from", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const device = await deviceOf(house, "ada");
	const before = spent(house);
	let slowest = 0;
	for (let count = 0; count < 1000; count++) {
		await from(house, `198.18.${count % 200}.1`, "ada", `wrong password ${count}`);
		if (count % 100 === 0) t.equal((await from(house, "203.0.113.1", "ada", goodPassword, device)).statusCode, 200);
		const wait = (await from(house, "203.0.113.2", "ada", goodPassword)).headers["retry-after"];
		slowest = Math.max(slowest, Number(wait ?? 0));
	}
	t.ok(slowest <= 1728, "and without a known device the owner never has to wait longer than half an hour");
	t.ok(spent(house) - before < 40, "for that few of them are compared");
});

t.test("a device has ten tries, of which one comes back each 2.4 hours, and each device has its own", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const [one, two] = [await deviceOf(house, "ada"), await deviceOf(house, "ada")];
	t.not(one, two);
	await burn(house, "ada");
	const guess = async (device: string) =>
		(await from(house, "203.0.113.1", "ada", "wrong password", device)).statusCode;
	const guesses = async (device: string, count: number) => {
		const statuses = [];
		for (let turn = 0; turn < count; turn++) statuses.push(await guess(device));
		return statuses.filter((status) => status === 401).length;
	};
	t.equal(await guesses(one, 12), 10, "then it is like any stranger");
	t.equal((await from(house, "203.0.113.1", "ada", goodPassword, one)).statusCode, 429);
	const again = await deviceOf(house, "ada", two);
	t.equal(await guesses(two, 6), 6, "the other one has its own");
	t.equal(await guesses(again, 12), 4, "which another login from it does not renew");
	t.not(again, two, "although the token is a new one");
	house.clock.advance(daySeconds / 10);
	await burn(house, "ada");
	t.equal(await guesses(one, 12), 1);
});

t.test("a device token is good for one account, 180 days, as it was made", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	await house.addUser("bob");
	const device = await deviceOf(house, "ada");
	const bobs = await deviceOf(house, "bob");
	const opens = async (token: string) =>
		(await from(house, "203.0.113.1", "ada", goodPassword, token)).statusCode === 200;
	await burn(house, "ada");
	t.equal(await opens(device), true);
	const bytes = Buffer.from(device, "base64url");
	for (let place = 0; place < bytes.length; place++) {
		const altered = Buffer.from(bytes);
		altered[place] = (altered[place] ?? 0) ^ 1;
		if (await opens(altered.toString("base64url"))) t.fail(`a token with another byte ${place}`);
	}
	for (const other of [
		bobs,
		`${device}A`,
		`${device}=`,
		device.slice(0, -1),
		"",
		"x",
		house.services.refresh.tokenOf({ id: "x" } as never),
	])
		t.equal(await opens(other), false, `not ${other.slice(0, 10)}`);
	const known = await from(house, "203.0.113.1", "ada", goodPassword, "x");
	const unknown = await from(house, "203.0.113.1", "ada", goodPassword);
	t.same(visible(known), visible(unknown), "a bad token is no other answer than none");
	house.clock.advance(180 * daySeconds - 2000);
	await burn(house, "ada");
	t.equal(await opens(device), false, "it has ended");
});

t.test("it is void after a new password and after a logout everywhere, but not after a logout", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const logIn = async (password: string, device?: string) => {
		const answer = await from(house, "203.0.113.1", "ada", password, device);
		return answer.json<{ access_token: string; device_token: string }>();
	};
	const gets = async (password: string, device: string) => {
		await burn(house, "ada");
		const { statusCode } = await from(house, "203.0.113.1", "ada", password, device);
		const { id } = await house.services.users.getByName("ada");
		await house.services.limits.unlock({ id, username: "ada" });
		return statusCode;
	};
	const first = await logIn(goodPassword);
	t.equal((await post(house, "/logout", {}, first.access_token)).statusCode, 204);
	t.equal(await gets(goodPassword, first.device_token), 200, "after a logout");
	const second = await logIn(goodPassword, first.device_token);
	t.equal((await post(house, "/logout/all", {}, second.access_token)).statusCode, 204);
	t.equal(await gets(goodPassword, second.device_token), 429, "after a logout everywhere");
	const third = await logIn(goodPassword, second.device_token);
	t.equal(await gets(goodPassword, third.device_token), 200);
	const change = { current_password: goodPassword, new_password: nextPassword };
	const later = await logIn(goodPassword, third.device_token);
	t.equal((await post(house, "/password", change, later.access_token)).statusCode, 204);
	t.equal(await gets(nextPassword, later.device_token), 429, "after a new password");
	const fourth = await logIn(nextPassword);
	t.equal(await gets(nextPassword, fourth.device_token), 200);
	const { id } = await house.services.users.getByName("ada");
	await house.services.credentials.reset(id, goodPassword);
	t.equal(await gets(goodPassword, fourth.device_token), 429, "after an administrator has set one");
});

t.test("it is void where everything from before a time is, and the next one is good", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const old = await deviceOf(house, "ada");
	await house.services.revocations.refuseIssuedBefore(house.clock.now() + 1);
	house.clock.advance(1);
	const next = await deviceOf(house, "ada");
	const renewed = await deviceOf(house, "ada", old);
	await burn(house, "ada");
	const status = async (token: string) => (await from(house, "203.0.113.1", "ada", goodPassword, token)).statusCode;
	t.equal(await status(old), 429);
	for (const token of [next, renewed]) t.equal(await status(token), 200);
});

t.test("R07: who changes the password from a known device while somebody guesses stays known there", async (t) => {
	const house = await limited(t, { settings: { TOKEN_LOCATIONS: "header,cookie" } });
	await house.addUser("ada");
	const change = { current_password: goodPassword, new_password: nextPassword };
	const back = { current_password: nextPassword, new_password: goodPassword };
	const logIn = async (password: string, device?: string) => {
		const answer = await from(house, "203.0.113.1", "ada", password, device);
		return answer.json<{ access_token: string; device_token: string }>();
	};
	const first = await logIn(goodPassword);
	const asked = { "x-device-token": first.device_token };
	const changed = await post(house, "/password", change, first.access_token, asked);
	t.equal(changed.statusCode, 204);
	t.equal(changed.headers["set-cookie"], undefined, "a program has no use for cookies");
	const device = String(changed.headers["x-device-token"]);
	t.not(device, first.device_token);
	await burn(house, "ada");
	const login = async (token?: string) => (await from(house, "203.0.113.1", "ada", nextPassword, token)).statusCode;
	t.same([await login(), await login(first.device_token), await login(device)], [429, 429, 200]);

	const second = await logIn(nextPassword, device);
	await house.addUser("bob");
	const bobs = (await from(house, "203.0.113.1", "bob", goodPassword)).json<{ device_token: string }>().device_token;
	house.clock.advance(2 * daySeconds);
	const third = await logIn(nextPassword, second.device_token);
	for (const other of [bobs, first.device_token, "x"]) {
		const answer = await post(house, "/password", back, third.access_token, { "x-device-token": other });
		t.equal(answer.statusCode, 204);
		t.notOk("x-device-token" in answer.headers, "a token of somebody else's, or a void one, gets none");
		const again = await post(house, "/password", change, third.access_token);
		t.equal(again.statusCode, 204);
		t.notOk("x-device-token" in again.headers || "set-cookie" in again.headers, "none gets none");
	}

	house.clock.advance(2 * daySeconds);
	const { id } = await house.services.users.getByName("ada");
	await house.services.credentials.reset(id, goodPassword);
	const jar = createJar(house);
	await jar.login("ada");
	house.clock.advance(100);
	const answer = await jar.post("/password", { fields: change });
	t.equal(answer.statusCode, 204);
	t.notOk("x-device-token" in answer.headers, "no script can read it");
	t.match(
		[answer.headers["set-cookie"]].flat(),
		[/^__Host-device=[^;]+; Max-Age=15551900; Path=\/; HttpOnly; Secure; SameSite=Strict$/],
		"as long as the one before would have been",
	);
	await burn(house, "ada");
	t.equal((await jar.login("ada", nextPassword)).statusCode, 200);
});

t.test("a login with a void token gets another device id, or who has that token could use its tries up", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const idOf = (token: string) => Buffer.from(token, "base64url").subarray(1, 17).toString("hex");
	const first = await deviceOf(house, "ada");
	const second = await deviceOf(house, "ada", first);
	t.equal(idOf(second), idOf(first));
	const { id } = await house.services.users.getByName("ada");
	await house.services.users.logoutEverywhere(id);
	const third = await deviceOf(house, "ada", second);
	t.not(idOf(third), idOf(first), "void");
	house.clock.advance(180 * daySeconds);
	t.not(idOf(await deviceOf(house, "ada", third)), idOf(third), "ended");
});

t.test(
	"R12: a login that finds the queue full is refused before its form is read and the store is asked",
	async (t) => {
		const house = await limited(t);
		await house.addUser("ada");
		const own = await deviceOf(house, "ada");
		const { passwords, users, credentials } = house.services;
		passwords.assertRoom = (first) => {
			if (!first) throw new errors.BUSY();
		};
		let asked = 0;
		const { findCredentials } = users;
		users.findCredentials = (by) => {
			asked++;
			return findCredentials(by);
		};
		const send = (more: Record<string, string> = {}) =>
			house.app.inject({
				method: "POST",
				url: "/login",
				payload: "{",
				headers: { "content-type": "text/html", ...more },
			});
		for (const token of [undefined, "", "a", `${own}A`]) {
			const answer = await send(token === undefined ? {} : { "x-device-token": token });
			t.match(answer, { statusCode: 503, headers: { "retry-after": /^\d+$/, "cache-control": "no-store" } });
			t.equal(answer.json().code, "BUSY");
		}
		t.equal(credentials.stats().logins.busy, 4);
		t.equal((await send({ "x-device-token": own })).statusCode, 415, "a device of ours may be a known one: it is read");
		t.equal(asked, 0);
		t.equal((await from(house, "203.0.113.1", "ada", goodPassword, own)).statusCode, 200);
		t.equal(asked, 1);
	},
);

t.test("R12: where only known devices have room, a token that is not the account's own leaves no row", async (t) => {
	const house = await limited(t);
	const { store, users, limits, passwords } = house.services;
	for (const name of ["ada", "bob"]) await house.addUser(name);
	const { id } = await users.getByName("ada");
	const before = await deviceOf(house, "ada");
	await users.logoutEverywhere(id);
	const [own, bobs] = [await deviceOf(house, "ada"), await deviceOf(house, "bob")];
	passwords.assertRoom = (first) => {
		if (!first) throw new errors.BUSY();
	};
	const rows = () => store.db.selectFrom("login_tries").selectAll().orderBy("bucket").execute();
	const written = await rows();
	for (const [name, token] of [
		["ada", undefined],
		["ada", before],
		["ada", bobs],
		["nobody", own],
	] as const)
		t.equal((await from(house, "203.0.113.1", name, goodPassword, token)).statusCode, 503);
	t.same(await rows(), written);
	t.equal((await from(house, "203.0.113.1", "ada", goodPassword, own)).statusCode, 200);

	const device = { id: "a test", userId: id, generation: 1, expiresAt: house.clock.now() + 1 };
	const origin = { id: "a test", ip: "203.0.113.1" };
	const take = () =>
		limits.take(
			{ username: "ada", password: goodPassword, origin, device, userId: id, isDisabled: false },
			passwords.assertRoom,
		);
	const one = await take();
	t.equal(one.first, true);
	await t.rejects(take(), { code: "BUSY" }, "a second one of the account queues with the strangers");
	await one.right();
	t.equal((await take()).first, true, "until the first one has ended");
});

t.test(
	"a known device goes first all the way through a change of password, and the policy comes after the count",
	async (t) => {
		const house = await limited(t);
		await house.addUser("ada");
		const answer = await from(house, "203.0.113.1", "ada", goodPassword);
		const { access_token: token, device_token: device } = answer.json<{ access_token: string; device_token: string }>();
		const { passwords } = house.services;
		const { checkPolicy, hash } = passwords;
		const wentFirst: unknown[] = [];
		passwords.checkPolicy = (...args) => {
			wentFirst.push(args[3]);
			return checkPolicy(...args);
		};
		passwords.hash = (...args) => {
			wentFirst.push(args[2]);
			return hash(...args);
		};
		const change = (current: string, next: string, more: Record<string, string> = {}) =>
			post(house, "/password", { current_password: current, new_password: next }, token, more);
		t.equal((await change("wrong password", nextPassword)).statusCode, 403);
		t.same(wentFirst, [], "a wrong password costs its hash and nothing more");
		t.equal((await change(goodPassword, nextPassword, { "x-device-token": device })).statusCode, 204);
		t.equal((await change(nextPassword, goodPassword)).statusCode, 204);
		t.same(wentFirst, [true, true, false, false]);
	},
);

t.test("a token of SECRET_PREVIOUS is still good", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const before = await limited(t, { location });
	await before.addUser("ada");
	const device = await deviceOf(before, "ada");
	const [old, other] = [testSecret, "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl"];
	const after = await limited(t, { location, clock: before.clock, settings: { SECRET: other, SECRET_PREVIOUS: old } });
	await burn(after, "ada");
	t.equal((await from(after, "203.0.113.1", "ada", goodPassword, device)).statusCode, 200);
});

t.test("a browser gets it as a cookie of its own, which a logout leaves", async (t) => {
	const house = await limited(t, { settings: { TOKEN_LOCATIONS: "header,cookie" } });
	await house.addUser("ada");
	const jar = createJar(house);
	const answer = await jar.login("ada");
	t.notOk("device_token" in answer.json<object>(), "no script can read it");
	const cookie = [answer.headers["set-cookie"]].flat().find((line) => line?.startsWith("__Host-device="));
	t.match(cookie, /; Max-Age=15552000; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
	await burn(house, "ada");
	t.equal((await house.login("ada")).statusCode, 429);
	t.equal((await jar.login("ada")).statusCode, 200);
	t.equal((await jar.post("/logout")).statusCode, 204);
	t.same([...jar.cookies.keys()], ["__Host-device"]);
	t.equal((await jar.login("ada")).statusCode, 200);
});

t.test("with cookies off a cookie counts for nothing", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const device = await deviceOf(house, "ada");
	await burn(house, "ada");
	const { payload, headers } = form({ username: "ada", password: goodPassword });
	const cookie = `__Host-device=${device}`;
	const answer = await house.app.inject({
		method: "POST",
		url: "/login",
		payload,
		headers: { ...headers, ...sameOrigin, cookie },
	});
	t.equal(answer.statusCode, 429);
});

t.test("R08: the other doors know devices too", async (t) => {
	const house = await limited(t);
	await house.addUser("ada");
	const answer = await from(house, "203.0.113.1", "ada", goodPassword);
	const { access_token: token, device_token: device } = answer.json<{ access_token: string; device_token: string }>();
	await burn(house, "ada");
	const confirm = (more: Record<string, string>) =>
		house.app.inject({
			method: "POST",
			url: "/reauthenticate",
			payload: form({ password: goodPassword }).payload,
			headers: {
				...form({}).headers,
				authorization: `Bearer ${house.mint({ ...(house.services.tokens && claims(token)) })}`,
				...more,
			},
		});
	t.equal((await confirm({})).statusCode, 429);
	t.equal((await confirm({ "x-device-token": device })).statusCode, 200);
});

/** The claims of a token, its end moved on: burning an account takes longer than it lives. */
function claims(token: string): object {
	const found = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp: number };
	return { ...found, exp: found.exp + 3600 };
}
