/** Username and password over both stores, below HTTP: what the doors rely on. Rows L02, L09, L20 and L25. */
import t, { type Test } from "tap";
import { createCredentials } from "../../src/credentials.ts";
import { errors } from "../../src/errors.ts";
import { openPasswords } from "../../src/passwords/passwords.ts";
import { openStore } from "../../src/store/store.ts";
import { aDevice, createFakeClock, goodPassword, openUsers } from "../support/app.ts";
import { type OpenStoreLocation, onEachStore } from "../support/stores.ts";

const nextPassword = "walnut harbour sixteen lanterns";

/** Who changes a password: the account, in a session that has no row. */
const owner = (userId: string) => ({ userId, sessionId: "none" });

async function open(t: Test, openLocation: OpenStoreLocation, threads = 2) {
	const clock = createFakeClock();
	const store = await openStore({ ...(await openLocation(t)), clock });
	await store.migrate();
	const { users, sessions, ...guessing } = openUsers(store, clock);
	const settings = { threads, maxWaitSeconds: 30, minLength: 15 };
	const passwords = openPasswords({ ...settings, cost: 10 });
	const dearer = openPasswords({ ...settings, cost: 11 });
	t.teardown(async () => {
		await Promise.all([passwords.close(), dearer.close()]);
		await store.close();
	});
	const build = (over: Partial<Parameters<typeof createCredentials>[0]> = {}) =>
		createCredentials({ users, sessions, passwords, ...guessing, ...over });
	return { users, passwords, sessions, dearer, build, credentials: build() };
}

onEachStore((kind, openLocation) => {
	t.test(`${kind}: credentials`, async (t) => {
		const { users, sessions, passwords, dearer, build, credentials } = await open(t, openLocation);
		const id = await credentials.register("Ada", goodPassword, ["admin"]);
		const stored = async () => (await users.findCredentials({ id }))?.password.hash ?? "";

		await t.test("a registered account is found by its password, under any spelling of its name", async (t) => {
			t.match(await credentials.login("ADA", goodPassword, aDevice), {
				user: { id, username: "ada", roles: ["admin"] },
			});
		});

		await t.test("the log may know why, the client may not", async (t) => {
			const disabled = await credentials.register("dora", goodPassword, ["user"]);
			await users.setDisabled(disabled, true);
			const cases: [string, string, string, { user?: string }][] = [
				["nobody", goodPassword, "no such account", {}],
				["ada", "wrong", "wrong password", { user: id }],
				["dora", goodPassword, "disabled account", { user: disabled }],
			];
			for (const [name, password, reason, whose] of cases)
				await t.rejects(credentials.login(name, password, aDevice), {
					code: "INVALID_CREDENTIALS",
					message: "Invalid credentials",
					cause: { message: reason, securityEvent: { event: "login_refused", reason, ...whose } },
				});
		});

		await t.test("an account that is disabled while its hash is computed is refused", async (t) => {
			const racer = await credentials.register("racer", goodPassword, ["user"]);
			const slow = build({
				passwords: {
					...passwords,
					async verify(...args: Parameters<typeof passwords.verify>) {
						await users.setDisabled(racer, true);
						return passwords.verify(...args);
					},
				},
			});
			await t.rejects(slow.login("racer", goodPassword, aDevice), { code: "INVALID_CREDENTIALS" });
			t.strictSame(await sessions.list(racer), [], "the session that had begun has ended");
		});

		await t.test("a disabled account cannot change its password, and costs no hash", async (t) => {
			const gone = await credentials.register("gone", goodPassword, ["user"]);
			await users.setDisabled(gone, true);
			const before = passwords.stats().work;
			for (const [current, next] of [
				[goodPassword, nextPassword],
				["wrong", nextPassword],
				[goodPassword, "short"],
			] as const)
				await t.rejects(credentials.change(owner(gone), current, next, aDevice), { code: "INVALID_TOKEN" });
			t.match(passwords.stats().work, { hash: before.hash, verify: before.verify });
			await users.setDisabled(gone, false);
			t.match(
				await credentials.login("gone", goodPassword, aDevice),
				{ user: { id: gone } },
				"the password is the same",
			);
		});

		await t.test("L25: registering and resetting obey the policy, too", async (t) => {
			await t.rejects(credentials.register("bob", "short", ["user"]), { code: "WEAK_PASSWORD" });
			await t.rejects(credentials.register("margaret", "tern margaret violin seven", []), { code: "WEAK_PASSWORD" });
			await t.rejects(credentials.register("b b", goodPassword, []), { code: "INVALID_USERNAME" });
			t.equal(await users.findCredentials({ username: "bob" }), undefined);
			await t.rejects(credentials.reset(id, "short"), { code: "WEAK_PASSWORD" });
			await t.rejects(credentials.reset("nobody", nextPassword), { code: "USER_NOT_FOUND" });
			await t.rejects(credentials.change(owner("nobody"), goodPassword, nextPassword, aDevice), {
				code: "INVALID_TOKEN",
			});
			await t.rejects(credentials.change(owner("nobody"), "wrong", "short", aDevice), { code: "INVALID_TOKEN" });
			t.match(await credentials.login("ada", goodPassword, aDevice), { user: { id } }, "the password is the same");
		});

		await t.test("L20: an upgrade never overwrites a password that was changed meanwhile", async (t) => {
			const changing = build({
				passwords: {
					...dearer,
					// Between the check and the upgrade somebody else changes the password.
					async hash(...args: Parameters<typeof dearer.hash>) {
						await credentials.change(owner(id), goodPassword, nextPassword, aDevice);
						return dearer.hash(...args);
					},
				},
			});
			// The old password was right when the check began; it no longer is when the login would be answered.
			await t.rejects(changing.login("ada", goodPassword, aDevice), { code: "INVALID_CREDENTIALS" });
			t.match(await stored(), /^\$2b\$10\$/, "the new password's hash");
			t.match(await credentials.login("ada", nextPassword, aDevice), { user: { id } });
			await t.rejects(credentials.login("ada", goodPassword, aDevice), { code: "INVALID_CREDENTIALS" });
		});

		await t.test("L20: an upgrade that meets a full queue waits for the next login", async (t) => {
			const before = await stored();
			const busy = build({
				passwords: {
					...dearer,
					async hash() {
						throw new errors.BUSY();
					},
				},
			});
			t.match(await busy.login("ada", nextPassword, aDevice), { user: { id } }, "the login is good");
			t.equal(await stored(), before);
			await build({ passwords: dearer }).login("ada", nextPassword, aDevice);
			t.match(await stored(), /^\$2b\$11\$/);
		});

		await t.test("R12: a login that finds the queue full is refused before the store is asked", async (t) => {
			const full = build({
				users: {
					...users,
					async findCredentials() {
						throw new Error("the store was asked");
					},
				},
				passwords: {
					...dearer,
					assertRoom() {
						throw new errors.BUSY();
					},
				},
			});
			await t.rejects(full.login("ada", nextPassword, aDevice), { code: "BUSY" });
			t.throws(() => full.assertRoom(aDevice), { code: "BUSY" });
			t.equal(full.stats().logins.busy, 2);
		});

		await t.test("L20: a change that meets an upgrade is checked again, and wins", async (t) => {
			let upgraded = false;
			const meeting = build({
				passwords: {
					...passwords,
					async hash(...args: Parameters<typeof passwords.hash>) {
						if (!upgraded) await credentials.login("ada", nextPassword, aDevice);
						upgraded = true;
						return passwords.hash(...args);
					},
				},
			});
			const before = await stored();
			t.match(before, /^\$2b\$11\$/, "so that a login at cost 10 replaces it");
			await meeting.change(owner(id), nextPassword, goodPassword, aDevice);
			t.match(await credentials.login("ada", goodPassword, aDevice), { user: { id } });
			await t.rejects(credentials.login("ada", nextPassword, aDevice), { code: "INVALID_CREDENTIALS" });
		});
	});

	t.test(`${kind}: L20: no login with the old password ends well after the change has`, async (t) => {
		// One thread, so that what is queued behind the change's own hash is compared after the change.
		const { users, passwords, build, credentials } = await open(t, openLocation, 1);
		const id = await users.add("ada", await passwords.hash(goodPassword), ["user"]);
		const ended: string[] = [];
		let changed = false;
		const logIn = async (time: string) => {
			const outcome = await credentials.login("ada", goodPassword, aDevice).then(
				({ user }) => (user.id === id ? 200 : 500),
				(error) => (error.code === "INVALID_CREDENTIALS" ? 401 : error),
			);
			ended.push(`${time}: ${outcome} ${changed ? "after" : "before"} the change`);
		};
		const logins = Array.from({ length: 5 }, () => logIn("earlier"));
		const changing = build({
			passwords: {
				...passwords,
				hash(...args: Parameters<typeof passwords.hash>) {
					const answer = passwords.hash(...args);
					for (let turn = 0; turn < 10; turn++) logins.push(logIn("meanwhile"));
					return answer;
				},
			},
		});
		await changing.change(owner(id), goodPassword, nextPassword, aDevice);
		changed = true;
		await Promise.all(logins);
		t.same(ended, [
			...Array.from({ length: 5 }, () => "earlier: 200 before the change"),
			...Array.from({ length: 10 }, () => "meanwhile: 401 after the change"),
		]);
		t.match(await credentials.login("ada", nextPassword, aDevice), { user: { id } });
	});

	t.test(`${kind}: L20: good logins that upgrade one hash at the same time are all good`, async (t) => {
		const { users, passwords, dearer, build } = await open(t, openLocation);
		const id = await users.add("ada", await passwords.hash(goodPassword), ["user"]);
		const upgrading = build({ passwords: dearer });
		const found = await Promise.all(Array.from({ length: 6 }, () => upgrading.login("ada", goodPassword, aDevice)));
		for (const { user } of found) t.match(user, { id });
		t.match((await users.findCredentials({ id }))?.password.hash, /^\$2b\$11\$/);
	});
});
