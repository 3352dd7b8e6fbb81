/** Roles and what they allow. */
import t from "tap";
import { createPermissions } from "../../src/permissions.ts";
import type { Sessions } from "../../src/sessions/sessions.ts";
import { openStore } from "../../src/store/store.ts";
import { createUsers } from "../../src/users/users.ts";
import { createFakeClock } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

onEachStore((kind, open) => {
	t.test(`${kind}: an account may do what its roles allow together, and no more`, async (t) => {
		const clock = createFakeClock();
		const store = await openStore({ ...(await open(t)), clock });
		t.teardown(() => store.close());
		await store.migrate();
		const permissions = createPermissions({ store });
		const users = createUsers({ store, clock, permissions, sessions: {} as Sessions, onPasswordReplaced: () => {} });
		const grants = async (id: string) => {
			const { roles = [], permissions = [] } = (await users.find(id)) ?? {};
			return { roles, permissions };
		};
		for (const id of ["ada", "bob"]) {
			const row = { id, username: id, password_hash: "", password_scheme: "bcrypt" as const, disabled_at: null };
			await store.db
				.insertInto("users")
				.values({ ...row, password_changed_at: 0, created_at: 0 })
				.execute();
		}
		const assign = (id: string, ...roles: string[]) =>
			store.transaction((transaction) => permissions.assign(transaction, id, roles));

		t.same(await grants("ada"), { roles: [], permissions: [] }, "nothing without a role");
		await assign("ada", "user", "admin", "user");
		await assign("bob", "user");
		const admin = await grants("ada");
		t.same(admin.roles, ["admin", "user"], "sorted, each once");
		t.ok(admin.permissions.includes("users:write"));
		t.same(admin.permissions, [...new Set(admin.permissions)].sort());
		t.same(await grants("bob"), { roles: ["user"], permissions: [] });
		t.same([...(await permissions.rolesOfAll())].sort(), [
			["ada", ["admin", "user"]],
			["bob", ["user"]],
		]);

		await t.rejects(assign("ada", "user", "king"), { code: "UNKNOWN_ROLE" });
		await t.rejects(assign("ada", "Admin"), { code: "UNKNOWN_ROLE" }, "names are exact");
		t.same((await grants("ada")).roles, ["admin", "user"], "a refused change changes nothing");
		await assign("ada", "user");
		t.same(await grants("ada"), { roles: ["user"], permissions: [] }, "exactly the new ones");
		await assign("ada");
		t.same(await grants("ada"), { roles: [], permissions: [] });
		t.same(await grants("nobody"), { roles: [], permissions: [] });
	});
});
