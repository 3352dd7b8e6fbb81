/** Texts that break other programs, sent to `POST /login` on both stores: rows L26, L27 and L28. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { type TestApp, testApp } from "../support/app.ts";
import { formType, storedHash } from "../support/login.ts";
import { onEachStore } from "../support/stores.ts";

async function rowCounts({ services: { store } }: TestApp) {
	const tables = ["users", "deleted_users", "roles", "role_permissions", "user_roles", "signing_keys"] as const;
	const counts: Record<string, number> = {};
	for (const table of tables) {
		const rows = await store.db.selectFrom(table).selectAll().execute();
		counts[table] = rows.length;
	}
	return counts;
}

/** Texts that end a string, a comment or a statement in some SQL (ASVS 1.2.4). */
const sqlTexts = [
	"' OR '1'='1",
	"' OR 1=1--",
	"admin'--",
	"admin' #",
	"admin'/*",
	'" OR ""="',
	"') OR ('1'='1",
	"' UNION SELECT 1,2,3,4,5--",
	"'; DROP TABLE users;--",
	"'; DELETE FROM users WHERE 't'='t",
	"'; UPDATE users SET password_hash='x'--",
	"1; SELECT pg_sleep(5)--",
	"' || (SELECT pg_sleep(5)) || '",
	"' AND randomblob(500000000) --",
	"\\'; SELECT 1;--",
	"%' OR '%'='",
	"root' AND password_hash LIKE '$2b$%",
	"$1",
	"?",
	":id",
];

onEachStore((kind) => {
	t.test(`${kind}: L27: SQL text is inert in every field`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { addUser, login, get } = house;
		const id = await addUser("ada");
		const before = await rowCounts(house);
		const hash = await storedHash(house, "root");
		const token = await house.tokenFor("ada");
		for (const text of sqlTexts) {
			const began = performance.now();
			const answers = await Promise.all([
				login(text, "x"),
				login("root", text),
				house.app.inject({
					method: "POST",
					url: "/password",
					payload: new URLSearchParams({ current_password: text, new_password: text }).toString(),
					headers: { "content-type": formType, authorization: `Bearer ${token}` },
				}),
				get("/me", house.mint({ ...house.claims(text) })),
				get("/me", house.mint({ ...house.claims("nobody"), jti: text, sid: text })),
				get("/me", house.mint(house.claims(id), { kid: text })),
				house.app.inject({ url: "/me", headers: { cookie: `sid=${encodeURIComponent(text)}` } }),
				get(`/me?id=${encodeURIComponent(text)}`),
			]);
			for (const [index, { statusCode }] of answers.entries())
				t.ok(statusCode >= 400 && statusCode < 500, `${text} in place ${index}: ${statusCode}`);
			t.ok(performance.now() - began < 3000, `${text} delays nothing`);
		}
		t.strictSame(await rowCounts(house), before, "no row came or went");
		t.equal(await storedHash(house, "root"), hash, "no row changed");
	});
});

const naughty = new URL("../../../shared/vectors/blns/blns.json", import.meta.url);
const skip = existsSync(naughty) ? false : "the shared vectors are not here";

onEachStore((kind) => {
	t.test(`${kind}: L26, L28: no naughty string breaks /login or comes back from it`, { skip }, async (t) => {
		const { login } = await testApp(t, { store: kind, logLevel: "fatal" });
		const strings = JSON.parse(readFileSync(naughty, "utf8")) as string[];
		t.equal(strings.length, 515);
		const faults: unknown[] = [];
		const attempt = async (username: string, password: string, secret?: string) => {
			const { statusCode, body } = await login(username, password);
			if (statusCode < 400 || statusCode >= 500) faults.push({ statusCode, username, password });
			if (secret !== undefined && secret.length > 8 && body.includes(secret)) faults.push({ body, secret });
		};
		// A password costs a hash whatever the store: once is enough.
		const attempts = strings.flatMap((text) => [
			() => attempt(text, "x", text),
			...(kind === "sqlite" ? [() => attempt("root", text, text)] : []),
		]);
		const next = attempts.values();
		await Promise.all(
			Array.from({ length: 8 }, async () => {
				for (const one of next) await one();
			}),
		);
		t.strictSame(faults, []);
		t.equal((await login("root")).statusCode, 200, "and the service is well");
	});
});
