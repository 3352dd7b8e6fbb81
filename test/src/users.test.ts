/** Accounts on both stores: the rules that keep the last administrator in, names unique and ids unused. */
import t from "tap";
import { openStore } from "../../src/store/store.ts";
import type { User } from "../../src/users/users.ts";
import { createFakeClock, openUsers } from "../support/app.ts";
import { beginRow } from "../support/sessions.ts";
import { onEachStore, versionsOf } from "../support/stores.ts";

const password = { hash: `$2b$10$${"a".repeat(53)}`, scheme: "bcrypt" as const };
const other = { hash: `$2b$10$${"b".repeat(53)}`, scheme: "bcrypt" as const };

onEachStore((kind, open) => {
	t.test(`${kind}: users`, async (t) => {
		const clock = createFakeClock(1_800_000_000);
		const store = await openStore({ ...(await open(t)), clock });
		t.teardown(() => store.close());
		await store.migrate();
		const replaced: string[] = [];
		const { users, sessions } = openUsers(store, clock, (name) => void replaced.push(name));
		const get = async (id: string): Promise<User> => {
			const user = await users.find(id);
			if (!user) throw new Error(`no account ${id}`);
			return user;
		};

		await t.test("an account is found by its id and by any spelling of its name", async (t) => {
			t.equal(await users.isEmpty(), true);
			const id = await users.add("Ada", password, ["admin"]);
			t.equal(await users.isEmpty(), false);
			t.match(id, /^[\w-]{22}$/, "128 bits");
			const expected = { id, username: "ada", disabled: false, createdAt: clock.now(), roles: ["admin"] };
			t.match(await users.find(id), expected);
			t.match(await users.getByName("ADA"), expected);
			t.same(await users.findCredentials({ username: "ada" }), {
				id,
				username: "ada",
				disabled: false,
				deviceGeneration: 0,
				password,
			});
			t.equal(await users.find("nobody"), undefined);
			t.equal(await users.findCredentials({ username: "nobody" }), undefined);
			await t.rejects(users.getByName("nobody"), { code: "USER_NOT_FOUND" });
			await t.rejects(users.getByName("no body"), { code: "INVALID_USERNAME" });
		});

		await t.test("a name is taken in every spelling, and a refused account leaves nothing behind", async (t) => {
			for (const name of ["ada", "ADA", "ａｄａ"])
				await t.rejects(users.add(name, password, ["user"]), { code: "USERNAME_TAKEN" }, name);
			await t.rejects(users.add("bob", password, ["user", "king"]), { code: "UNKNOWN_ROLE" });
			t.equal(await users.findCredentials({ username: "bob" }), undefined);
			const both = await Promise.allSettled([users.add("bob", password, ["user"]), users.add("BOB", other, ["user"])]);
			t.strictSame(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"], "one of two at once");
		});

		await t.test("the last administrator stays, whatever is tried", async (t) => {
			const ada = await users.getByName("ada");
			await t.rejects(users.setDisabled(ada.id, true), { code: "LAST_ADMINISTRATOR" });
			await t.rejects(users.setRoles(ada.id, ["user"]), { code: "LAST_ADMINISTRATOR" });
			await t.rejects(users.delete(ada), { code: "LAST_ADMINISTRATOR" });
			t.match(await users.find(ada.id), { disabled: false, roles: ["admin"] }, "nothing changed");
			const second = await users.add("second", password, ["admin"]);
			const both = await Promise.allSettled([users.setDisabled(ada.id, true), users.setDisabled(second, true)]);
			t.strictSame(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"], "of two at once one stays");
			await users.setDisabled(ada.id, false);
			await users.setDisabled(second, false);
		});

		await t.test("disabling and enabling is told to the others, once", async (t) => {
			const { id } = await users.getByName("bob");
			const versions = async () => (await versionsOf(store)).accounts;
			const before = await versions();
			const { id: sessionId } = await beginRow({ sessions, users }, id);
			await users.setDisabled(id, true);
			t.equal((await get(id)).disabled, true);
			t.ok((await versions()) > before);
			t.match(await users.findCredentials({ id }), { disabled: true });
			t.equal(await sessions.find(sessionId), undefined, "its session has ended");
			await users.setDisabled(id, false);
			t.equal((await get(id)).disabled, false);
			t.strictSame(await sessions.list(id), [], "and does not come back");
		});

		await t.test("L20: a password is replaced only where it is the one that was seen", async (t) => {
			const seen = await users.findCredentials({ username: "bob" });
			if (!seen) throw new Error("no account");
			const kept = await beginRow({ sessions, users }, seen.id);
			await beginRow({ sessions, users }, seen.id);
			const live = async () => (await sessions.list(seen.id)).length;
			clock.advance(10);
			t.equal(await users.upgradeHash(seen, other), true);
			t.strictSame(replaced, [], "another hash of the same password is no new password");
			t.equal(await users.replacePassword(seen, password), false, "somebody was faster");
			t.same((await users.findCredentials({ id: seen.id }))?.password, other);
			t.strictSame(replaced, []);
			t.equal(await live(), 2, "neither ends a session");
			t.equal(await users.replacePassword({ ...seen, password: other }, password, kept.id), true);
			t.strictSame(replaced, ["bob"]);
			t.match(await sessions.list(seen.id), [{ id: kept.id }], "only the session that changed it goes on");
			t.equal(await users.replacePassword({ ...seen, password }, other), true);
			t.equal(await live(), 0, "where another changed it, none does");
		});

		await t.test("a deleted account is gone with its roles, and its id is remembered", async (t) => {
			const bob = await users.getByName("bob");
			const { id: sessionId } = await beginRow({ sessions, users }, bob.id);
			await users.delete(bob);
			t.equal(await sessions.find(sessionId), undefined, "so is its session");
			t.equal(await users.find(bob.id), undefined);
			const rows = await store.db.selectFrom("user_roles").selectAll().where("user_id", "=", bob.id).execute();
			t.strictSame(rows, []);
			await users.delete(bob);
			const dead = await store.db.selectFrom("deleted_users").select("id").execute();
			t.same(dead, [{ id: bob.id }], "once, however often it is deleted");
			t.not(await users.add("bob", password, ["user"]), bob.id, "the name may come back, the id does not");
			t.strictSame(
				(await users.list()).map(({ username, roles }) => [username, roles]),
				[
					["ada", ["admin"]],
					["bob", ["user"]],
					["second", ["admin"]],
				],
			);
		});
	});
});
