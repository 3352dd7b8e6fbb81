/** Migrations on both stores: each applies once, whoever starts at the same time. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import t from "tap";
import { openStore } from "../../../src/store/store.ts";
import { onEachStore } from "../../support/stores.ts";

const run = promisify(execFile);
const clock = { now: () => 1 };

onEachStore((kind, open) => {
	t.test(`${kind}: migrations apply once and then rest`, async (t) => {
		const store = await openStore({ ...(await open(t)), clock });
		t.teardown(() => store.close());
		t.same(await store.migrate(), ["0001-accounts-and-keys"]);
		t.same(await store.migrate(), []);
		t.equal(store.kind, kind);
	});

	t.test(`${kind}: a new store has its roles and no user`, async (t) => {
		const { db, migrate, close } = await openStore({ ...(await open(t)), clock });
		t.teardown(close);
		await migrate();
		const roles = await db
			.selectFrom("roles")
			.leftJoin("role_permissions", "role", "name")
			.select(["name", "permission"])
			.orderBy("name")
			.orderBy("permission")
			.execute();
		t.same(
			roles.map(({ name, permission }) => `${name} ${permission}`),
			["admin users:read", "admin users:write", "user null"],
		);
		t.same(await db.selectFrom("users").selectAll().execute(), []);
	});

	t.test(`${kind}: five processes that start together migrate once`, async (t) => {
		const location = await open(t);
		const script = `
				const { openStore } = await import(${JSON.stringify(import.meta.resolve("../../../src/store/store.ts"))});
				const store = await openStore({ ...JSON.parse(process.argv[1]), clock: { now: () => 1 } });
				console.log(JSON.stringify(await store.migrate()));
				await store.close();`;
		const applied = await Promise.all(
			Array.from({ length: 5 }, async () => {
				const { stdout } = await run(process.execPath, [
					"--input-type=module",
					"--eval",
					script,
					JSON.stringify(location),
				]);
				return JSON.parse(stdout) as string[];
			}),
		);
		t.same(applied.flat(), ["0001-accounts-and-keys"]);
	});

	t.test(`${kind}: twenty handles of one process that migrate together migrate once`, async (t) => {
		const location = await open(t);
		const applied = await Promise.all(
			Array.from({ length: 20 }, async () => {
				const store = await openStore({ ...location, clock });
				t.teardown(() => store.close());
				return store.migrate();
			}),
		);
		t.same(applied.flat(), ["0001-accounts-and-keys"]);
	});
});
