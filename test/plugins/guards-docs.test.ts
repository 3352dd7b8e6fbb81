/** The files that docs/guards.md shows, dropped into a copy of the project as a reader would: they compile and they run. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import t from "tap";
import { testApp } from "../support/app.ts";
import { compile, copyProject } from "../support/compile.ts";
import { decode, segments } from "../support/forgery.ts";
import { onEachStore } from "../support/stores.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/guards.md"), "utf8");
/** Every complete file of the page, with its path. */
const files = [...page.matchAll(/^`((?:plugins|routes)\/[\w-]+\.ts)`:\n\n```ts\n([\s\S]*?)\n```/gm)].map(
	([, path = "", text = ""]) => ({ path, text }),
);

onEachStore((kind) => {
	t.test(
		`${kind}: the statements of docs/guards.md make a role, whose permissions are in its next token`,
		async (t) => {
			const house = await testApp(t, { store: kind });
			const id = await house.addUser("ada");
			const [, statements = ""] = /```sql\n([\s\S]*?)```/.exec(page) ?? [];
			for (const statement of statements.split(";\n").filter(Boolean))
				await sql.raw(statement).execute(house.services.store.db);
			await house.services.users.setRoles(id, ["user", "clerk"]);
			t.match((await house.get("/me", await house.tokenFor("ada"))).json(), {
				roles: ["clerk", "user"],
				permissions: ["orders:read", "orders:write"],
			});
		},
	);
});

t.test("the files of docs/guards.md, each dropped into its folder, compile and do what the page says", async (t) => {
	t.same(
		files.map(({ path }) => path),
		["plugins/tenant.ts", "plugins/suspended.ts", "plugins/current-user.ts", "routes/card.ts"],
	);
	const copy = copyProject(t);
	for (const { path, text } of files) writeFileSync(join(copy, path), `${text}\n`);
	const { text } = files.find(({ path }) => path === "plugins/tenant.ts") ?? { text: "" };
	const mistakes = [
		["{ tenant: await", "{ sub: await"],
		["{ tenant: await", "{ tenannt: await"],
		["{ tenant: await", "{ tenant: 7, also: await"],
	] as const;
	const mistaken = mistakes.map((_, index) => join(copy, `plugins/mistake-${index}.ts`));
	for (const [index, [from, to]] of mistakes.entries()) writeFileSync(mistaken[index] ?? "", text.replace(from, to));
	const said = compile(copy);
	for (const [index, [, to]] of mistakes.entries())
		t.match(said, new RegExp(`^plugins/mistake-${index}\\.ts.*error TS`, "m"), `the types refuse ${to}`);
	const others = said.split("\n").filter((line) => /error/.test(line) && !line.startsWith("plugins/mistake-"));
	t.same(others, [], "and the files of the page compile");
	for (const file of mistaken) rmSync(file);

	const builder = (await import(pathToFileURL(join(copy, "test/support/app.ts")).href)) as { testApp: typeof testApp };
	const { app, addUser, login, tokenFor, get, mint, claims } = await builder.testApp(t);
	const ids = new Map<string, string>();
	for (const name of ["ada@good.example", "bob@late.example", "eve"]) ids.set(name, await addUser(name));
	const ada = await tokenFor("ada@good.example");
	t.equal(decode(segments(ada)[1]).tenant, "good.example", "the claim is in the token");
	t.same((await get("/card", ada)).json(), { username: "ada@good.example", tenant: "good.example" });
	const { access_token: late, refresh_token } = (await login("bob@late.example")).json<Record<string, string>>();
	const bob = await get("/card", late);
	t.match([bob.statusCode, bob.json().code], [401, "INVALID_TOKEN"], "the check refuses a suspended tenant");
	t.equal((await get("/protected", late)).statusCode, 401, "on every route");
	const refreshed = await app.inject({ method: "POST", url: "/refresh", payload: { refresh_token } });
	t.match([refreshed.statusCode, refreshed.json().code], [401, "INVALID_TOKEN"], "and at /refresh");
	const before = mint(claims(ids.get("eve") ?? ""));
	t.same((await get("/card", before)).json(), { username: "eve", tenant: "none" }, "a token from before the plugin");
	const nobody = await get("/card", mint(claims("nobody")));
	t.match([nobody.statusCode, nobody.json().code], [401, "INVALID_TOKEN"], "the loader finds nobody");
});
