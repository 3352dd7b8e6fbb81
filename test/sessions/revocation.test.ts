/** Ended sessions and revoked tokens: refused at every door, whatever they are dressed up as. */
import t from "tap";
import { type TestApp, testApp } from "../support/app.ts";
import { beginSession, introspector, openDoors, type Pair, post, refreshWith, rotate } from "../support/sessions.ts";
import { onEachStore } from "../support/stores.ts";

/** The order of P-256 (FIPS 186-5). */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The same token with the other s: as good a signature (RFC 7518 section 3.4 does not forbid it). */
function otherS(token: string): string {
	const [header, payload, signature = ""] = token.split(".");
	const bytes = Buffer.from(signature, "base64url");
	const s = order - BigInt(`0x${bytes.subarray(32).toString("hex")}`);
	const other = Buffer.from(s.toString(16).padStart(64, "0"), "hex");
	return `${header}.${payload}.${Buffer.concat([bytes.subarray(0, 32), other]).toString("base64url")}`;
}

/** The same bytes in other letters: the last letter's unused bits set. */
function otherLetters(token: string): string[] {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const bytes = Buffer.from(token.split(".").at(-1) ?? "", "base64url");
	const start = token.slice(0, -1);
	const same = (text: string) => Buffer.from(text.split(".").at(-1) ?? "", "base64url").equals(bytes);
	return [...letters].map((letter) => start + letter).filter((text) => text !== token && same(text));
}

/** Which doors let an access token in, or a refresh token. */
async function doorsOf(house: TestApp, asker: string, { access, refresh }: Partial<Pair>): Promise<string[]> {
	const open = await openDoors(house, asker, { ...(access ? { access } : {}), ...(refresh ? { refresh } : {}) });
	const tries: [string, Record<string, string>, string | undefined][] = [];
	if (access) tries.push(["/logout", {}, access], ["/reauthenticate", { password: "x" }, access]);
	if (refresh) tries.push(["/logout", { refresh_token: refresh }, undefined]);
	for (const [url, fields, token] of tries)
		if ((await post(house, url, fields, token)).statusCode !== 401) open.push(url);
	return open;
}

onEachStore((kind) => {
	t.test(`${kind}: revocation`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { changes, revocations, sessions, store } = house.services;
		const ada = await house.addUser("ada");
		const bob = await house.addUser("bob");
		const asker = await introspector(house);
		const end = (url: string, { access }: Pair) =>
			house.app.inject({ method: "DELETE", url, headers: { authorization: `Bearer ${access}` } });

		await t.test("V01: a logout ends the access token too, at once, and its answer tells nothing", async (t) => {
			for (const by of ["access", "refresh"] as const) {
				const pair = await beginSession(house, ada);
				const other = await beginSession(house, ada);
				t.equal((await openDoors(house, asker, { access: pair.access })).length, 4);
				const answer = await (by === "access"
					? post(house, "/logout", {}, pair.access)
					: post(house, "/logout", { refresh_token: pair.refresh }));
				t.match(answer, { statusCode: 204, body: "" });
				t.same(await doorsOf(house, asker, pair), [], `by its ${by} token`);
				t.equal((await house.get("/protected", other.access)).statusCode, 200, "no other session");
				await sessions.endAll(ada);
			}
		});

		await t.test("V03: list the sessions, end one, end the others, end all", async (t) => {
			const login = await beginSession(house, ada);
			const pairs = [await beginSession(house, ada), await beginSession(house, ada), await beginSession(house, ada)];
			const stranger = await beginSession(house, bob);
			const list = async () =>
				(await house.get("/sessions", login.access)).json().sessions as {
					id: string;
					current: boolean;
					device: string;
				}[];
			const listed = await list();
			t.equal(listed.length, 4);
			t.equal(listed.filter(({ current }) => current).length, 1, "one of them is this one");
			t.notOk(
				listed.some(({ id }) => id === stranger.id),
				"nobody else's",
			);
			t.match(
				listed.find(({ current }) => current),
				{ address: "127.0.0.1", created_at: Number, last_used_at: Number },
			);
			t.notMatch(JSON.stringify(listed), /generation|user_id|token/, "and no more than a person needs");

			t.equal((await end(`/sessions/${pairs[0]?.id}`, login)).statusCode, 204);
			t.same(await doorsOf(house, asker, pairs[0] as Pair), []);
			for (const id of [pairs[0]?.id, stranger.id, "none", "%00", "__proto__"])
				t.match(
					(await end(`/sessions/${id}`, login)).json(),
					{ statusCode: 404, code: "SESSION_NOT_FOUND" },
					String(id),
				);
			t.equal((await openDoors(house, asker, stranger)).length, 6, "nobody ends another's");

			for (const { id, current } of await list()) if (!current) await end(`/sessions/${id}`, login);
			t.equal((await list()).length, 1);
			for (const pair of pairs) t.same(await doorsOf(house, asker, pair), []);
			t.equal((await house.get("/protected", login.access)).statusCode, 200);

			const last = await beginSession(house, ada);
			t.equal((await post(house, "/logout/all", {}, login.access)).statusCode, 204);
			for (const pair of [login, last]) t.same(await doorsOf(house, asker, pair), []);
			t.strictSame(await sessions.list(ada), []);
			t.equal((await house.get("/me", stranger.access)).statusCode, 200, "another account's go on");
		});

		await t.test("V08: each rule alone closes every door", async (t) => {
			const full = ["introspect access", "introspect refresh", "/protected", "/me", "/sessions", "/refresh"];
			const db = store.db;
			const announce = (topic: "accounts" | "revocations") =>
				store.transaction((transaction) => store.announce(transaction, topic));

			const byAccount = await beginSession(house, bob);
			t.same((await openDoors(house, asker, byAccount)).sort(), [...full].sort());
			const { refresh } = await rotate(t, house, byAccount.refresh);
			await db
				.updateTable("users")
				.set({ disabled_at: await store.now() })
				.where("id", "=", bob)
				.execute();
			await announce("accounts");
			await changes.poll();
			t.ok(await sessions.find(byAccount.id), "the account's rule alone: its session has a row");
			t.same(await doorsOf(house, asker, { access: byAccount.access, refresh }), []);
			await db.updateTable("users").set({ disabled_at: null }).where("id", "=", bob).execute();
			await announce("accounts");
			await changes.poll();
			t.equal((await house.get("/me", byAccount.access)).statusCode, 200, "and it was that rule");

			const bySession = await beginSession(house, bob);
			const ends_at = (await store.now()) + 5000;
			const seq = await announce("revocations");
			await db.insertInto("revocations").values({ id: bySession.id, ends_at, seq }).execute();
			await changes.poll();
			t.ok(
				await sessions.find(bySession.id),
				"the session's rule alone: a store that was rolled back has its row again",
			);
			t.same(await doorsOf(house, asker, bySession), []);

			const byToken = await beginSession(house, bob);
			const other = await rotate(t, house, byToken.refresh);
			t.equal((await post(house, "/revoke", { token: byToken.access }, other.access)).statusCode, 200);
			t.same(await doorsOf(house, asker, { access: byToken.access }), []);
			t.equal((await post(house, "/revoke", { token: other.access }, byToken.access)).statusCode, 401, "not even here");
			t.same((await openDoors(house, asker, other)).sort(), [...full].sort(), "only that token: its session goes on");
		});

		await t.test("T22: a revoked token stays revoked in every other encoding", async (t) => {
			for (const rule of ["token", "session"] as const) {
				const pair = await beginSession(house, ada);
				const twin = otherS(pair.access);
				t.not(twin, pair.access);
				t.equal((await house.get("/protected", twin)).statusCode, 200, "before: the other s is as good a signature");
				t.ok(otherLetters(pair.access).length > 0, "and its last letter has unused bits");
				const another = await beginSession(house, ada);
				if (rule === "token") await post(house, "/revoke", { token: pair.access }, another.access);
				else await post(house, "/logout", {}, pair.access);
				for (const token of [pair.access, twin, ...otherLetters(pair.access), ...otherLetters(twin)])
					t.same(await doorsOf(house, asker, { access: token }), [], `the ${rule} was ended`);
			}
			const never = await beginSession(house, ada);
			await post(house, "/revoke", { token: otherS(never.access) }, never.access);
			t.equal((await house.get("/protected", never.access)).statusCode, 401, "revoking the twin revokes the token");
		});

		await t.test("T22: a refresh token in another encoding is refused, and ends nothing", async (t) => {
			const pair = await beginSession(house, ada);
			const { refresh } = await rotate(t, house, pair.refresh);
			const standard = Buffer.from(refresh, "base64url").toString("base64");
			const variants = [...otherLetters(refresh), `${refresh}=`, `${refresh}==`, ` ${refresh}`, `${refresh}\n`];
			if (standard !== refresh) variants.push(standard);
			t.ok(variants.length >= 5);
			for (const token of [...variants, ...otherLetters(pair.refresh)]) {
				t.equal((await refreshWith(house, token)).statusCode, 401);
				t.equal((await post(house, "/logout", { refresh_token: token })).statusCode, 401);
				t.equal((await post(house, "/revoke", { token }, pair.access)).statusCode, 200);
			}
			t.match(await sessions.find(pair.id), { session: { generation: 1 } });
			t.equal((await house.get("/protected", pair.access)).statusCode, 200);
			await post(house, "/logout", {}, pair.access);
			for (const token of variants) t.equal((await refreshWith(house, token)).statusCode, 401);
		});

		t.ok(revocations.size() > 0);
	});
});
