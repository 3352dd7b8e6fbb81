/** `POST /revoke` (RFC 7009) and `POST /introspect` (RFC 7662) through the front door: rows V05, V06 and V07. */

import { generateKeyPairSync } from "node:crypto";
import t from "tap";
import type { AccessClaims } from "../../src/tokens.ts";
import { testApp } from "../support/app.ts";
import { foreignToken } from "../support/forgery.ts";
import {
	beginSession,
	claimsOf,
	introspector,
	openDoors,
	type Pair,
	passTime,
	post,
	refreshWith,
	rotate,
} from "../support/sessions.ts";
import { onEachStore, versionsOf } from "../support/stores.ts";

const ownKey = () =>
	generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();

onEachStore((kind) => {
	t.test(`${kind}: revoke and introspect`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { app, services } = house;
		const ada = await house.addUser("ada");
		const bob = await house.addUser("bob");
		const asker = await introspector(house);

		await t.test("V05: a form with POST, and nothing else", async (t) => {
			const pair = await beginSession(house, ada);
			const headers = { authorization: `Bearer ${pair.access}` };
			for (const url of ["/revoke", "/introspect"]) {
				const got = await app.inject({ method: "GET", url: `${url}?token=${pair.access}`, headers });
				t.equal(got.statusCode, 405);
				t.match(got.headers.allow, /POST/);
				const json = { method: "POST" as const, url, headers, payload: { token: pair.access } };
				t.equal((await app.inject(json)).statusCode, 415, `JSON at ${url}`);
				const token = url === "/revoke" ? pair.access : asker;
				for (const fields of [{}, { token: pair.access, scope: "all" }] as Record<string, string>[])
					t.match((await post(house, url, fields, token)).json(), { statusCode: 400, code: "VALIDATION_FAILED" });
				t.equal((await post(house, `${url}?token=x`, { token: "x" }, token)).statusCode, 400, "no query");
				t.equal((await post(house, url, { token: pair.access })).statusCode, 401, "nobody is nobody");
				t.equal(
					(await post(house, url, { token: pair.access }, pair.refresh)).statusCode,
					401,
					"a refresh token is no key",
				);
			}
			t.equal((await house.get("/protected", pair.access)).statusCode, 200, "and none of it revoked anything");
		});

		await t.test("V05: nobody fills the memory of every replica with tokens of one session", async (t) => {
			const caller = await beginSession(house, ada);
			const pair = await beginSession(house, ada);
			const before = services.revocations.size();
			const session = claimsOf(pair.access);
			for (let count = 1; count < 100; count++) {
				const token = await app.signAccessToken({ ...session, jti: `one-${count}` } as unknown as AccessClaims);
				t.equal((await post(house, "/revoke", { token }, caller.access)).statusCode, 200);
				if (count === 99) t.equal((await house.get("/protected", pair.access)).statusCode, 200, "the session goes on");
			}
			await post(house, "/revoke", { token: pair.access }, caller.access);
			t.same(await openDoors(house, asker, pair), [], "the hundredth ends it");
			t.equal(services.revocations.size() - before, 100);
			const late = await app.signAccessToken({ ...session, jti: "late" } as unknown as AccessClaims);
			await post(house, "/revoke", { token: late }, caller.access);
			t.equal(services.revocations.size() - before, 100, "and no other is remembered");
			t.equal((await house.get("/protected", caller.access)).statusCode, 200);
		});

		await t.test("V05: a refresh token takes its access tokens along, a wrong hint does no harm", async (t) => {
			for (const hint of [undefined, "access_token", "refresh_token", "no such kind"]) {
				const caller = await beginSession(house, ada);
				const pair = await beginSession(house, ada);
				const next = await rotate(t, house, pair.refresh);
				const fields = { token: next.refresh, ...(hint === undefined ? {} : { token_type_hint: hint }) };
				t.match(await post(house, "/revoke", fields, caller.access), { statusCode: 200, body: "" }, String(hint));
				for (const tokens of [pair, next]) t.same(await openDoors(house, asker, tokens), []);
				const own = { token: caller.access, ...(hint === undefined ? {} : { token_type_hint: hint }) };
				t.equal((await post(house, "/revoke", own, caller.access)).statusCode, 200);
				t.same(await openDoors(house, asker, { access: caller.access }), []);
				t.equal((await refreshWith(house, caller.refresh)).statusCode, 200, "an access token alone, not its session");
			}
			const caller = await beginSession(house, ada);
			const used = await beginSession(house, ada);
			const next = await rotate(t, house, (await rotate(t, house, used.refresh)).refresh);
			await post(house, "/revoke", { token: used.refresh }, caller.access);
			t.same(await openDoors(house, asker, next), [], "a token that was used before still names its session");
			t.notMatch(house.rawLog(), /refresh_token_reuse/);
		});

		await t.test("V05: what is unknown, expired, forged or nothing is 200, without effect", async (t) => {
			const pair = await beginSession(house, ada);
			const now = house.clock.now();
			const claims = { ...claimsOf(pair.access), jti: "expired-one", exp: now - 100, iat: now - 1000, nbf: now - 1000 };
			const { kid } = services.keys.signing();
			const forged = foreignToken({ kid }, claimsOf(pair.access), ownKey());
			const before = [services.revocations.size(), await versionsOf(services.store)];
			const nothing = ["", "x", "..", "a.b.c", "x".repeat(9000), house.mint(claims), forged, pair.refresh.slice(1)];
			for (const token of nothing)
				t.match(
					await post(house, "/revoke", { token }, pair.access),
					{ statusCode: 200, body: "" },
					token.slice(0, 20),
				);
			t.strictSame([services.revocations.size(), await versionsOf(services.store)], before);
			t.equal((await openDoors(house, asker, pair)).length, 6);
		});

		await t.test("V06: nobody revokes another's tokens, whatever he may do besides", async (t) => {
			const mine = await beginSession(house, ada);
			const caller = await beginSession(house, bob);
			for (const token of [mine.access, mine.refresh])
				for (const by of [caller.access, asker])
					t.match(await post(house, "/revoke", { token }, by), { statusCode: 200, body: "" }, "and is not told");
			t.equal((await openDoors(house, asker, mine)).length, 6);
			t.equal((await openDoors(house, asker, caller)).length, 6);
		});

		await t.test("V07: introspection needs its permission, and says what a good token says", async (t) => {
			const pair = await beginSession(house, ada);
			t.match((await post(house, "/introspect", { token: pair.access }, pair.access)).json(), {
				statusCode: 403,
				code: "INSUFFICIENT_PERMISSIONS",
			});
			const answer = await post(house, "/introspect", { token: pair.access }, asker);
			t.equal(answer.headers["cache-control"], "no-store");
			const { jti, sid, exp, iat } = claimsOf(pair.access);
			t.match(answer.json(), { active: true, type: "access", sub: ada, username: "ada", jti, sid, exp, iat });
			const { sessionId, ...refresh } = (await post(house, "/introspect", { token: pair.refresh }, asker)).json();
			t.match(refresh, { active: true, type: "refresh", sub: ada, sid: sid as string });
			t.notOk("permissions" in refresh, "a refresh token allows nothing by itself");
			t.match(await services.sessions.find(pair.id), { session: { generation: 0 } }, "asking spends nothing");
		});

		await t.test("V07: of a token that is not good the same is told, to the byte, whatever the reason", async (t) => {
			const now = house.clock.now();
			const live = await beginSession(house, ada);
			const expired = { ...claimsOf(live.access), exp: now - 31, iat: now - 1000, nbf: now - 1000 };
			const revoked = await beginSession(house, ada);
			await post(house, "/revoke", { token: revoked.access }, live.access);
			const ended = await beginSession(house, ada);
			await post(house, "/logout", {}, ended.access);
			const used = await beginSession(house, ada);
			await rotate(t, house, (await rotate(t, house, used.refresh)).refresh);
			const disabled = await beginSession(house, bob);
			await services.store.db.updateTable("users").set({ disabled_at: 1 }).where("id", "=", bob).execute();
			const { kid } = services.keys.signing();
			const dead: Record<string, string> = {
				expired: house.mint(expired),
				"not yet valid": house.mint({ ...claimsOf(live.access), iat: now + 60, nbf: now + 60 }),
				forged: foreignToken({ kid }, claimsOf(live.access), ownKey()),
				"of another service": house.mint({ ...claimsOf(live.access), iss: "https://other.example" }),
				revoked: revoked.access,
				"ended access": ended.access,
				"ended refresh": ended.refresh,
				"used refresh": used.refresh,
				"of a disabled account": disabled.access,
				"refresh of a disabled account": disabled.refresh,
				"altered refresh": `${live.refresh.slice(0, -6)}AAAAAA`,
				unknown: "mF_9.B5f-4.1JqM",
				nothing: "",
				long: "x".repeat(9000),
			};
			const answers = new Map<string, string[]>();
			for (const [what, token] of Object.entries(dead)) {
				const { statusCode, body, headers } = await post(house, "/introspect", { token }, asker);
				const { date, "x-request-id": id, ...rest } = headers;
				const seen = JSON.stringify([statusCode, body, rest]);
				answers.set(seen, [...(answers.get(seen) ?? []), what]);
			}
			t.equal(answers.size, 1, JSON.stringify([...answers.values()]));
			t.match([...answers.keys()][0], /^\[200,"\{\\"active\\":false\}"/);
			t.equal((await openDoors(house, asker, { refresh: live.refresh })).length, 2, "and asking ended nothing");
			await services.store.db.updateTable("users").set({ disabled_at: null }).where("id", "=", bob).execute();
			await passTime(house, 12);
			const before = await services.sessions.find(used.id);
			t.equal((await post(house, "/introspect", { token: used.refresh }, asker)).json().active, false);
			t.strictSame(
				(await services.sessions.find(used.id))?.session,
				before?.session,
				"nor does asking for a stolen one",
			);
		});
	});
});

// What is counted is in memory, and its clock the process's: there is nothing about the store in it.
t.test("V05: who revokes many tokens over many of their lives keeps the session", async (t) => {
	const house = await testApp(t);
	const ada = await house.addUser("ada");
	let pair: Pair = await beginSession(house, ada);
	for (let life = 0; life < 3; life++) {
		const caller = await beginSession(house, ada);
		const session = claimsOf(pair.access);
		for (let count = 0; count < 45; count++) {
			const jti = `${life}-${count}`;
			const token = await house.app.signAccessToken({ ...session, jti } as unknown as AccessClaims);
			t.equal((await post(house, "/revoke", { token }, caller.access)).statusCode, 200);
			t.equal((await house.get("/protected", token)).statusCode, 401);
		}
		await passTime(house, 1000);
		pair = await rotate(t, house, pair.refresh);
	}
	t.equal((await house.get("/protected", pair.access)).statusCode, 200);
});
