/** The text of refresh tokens: what it hides, and that there is one spelling. Row F10. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { randomId } from "../../src/random.ts";
import { deriveKey } from "../../src/secret.ts";
import { createRefreshTokens } from "../../src/sessions/refresh-token.ts";
import type { Schema } from "../../src/store/schema.ts";
import { testApp } from "../support/app.ts";
import { beginSession, introspector, pairOf, post, refreshWith } from "../support/sessions.ts";
import { onEachStore } from "../support/stores.ts";
import { until } from "../support/until.ts";

const key = deriveKey("for this test only", "refresh tokens");
const tokens = createRefreshTokens([key]);

/** Bits of information in each byte, over all the samples. */
function entropy(samples: Buffer[]): number {
	const counts = new Map<number, number>();
	const bytes = Buffer.concat(samples);
	for (const byte of bytes) counts.set(byte, (counts.get(byte) ?? 0) + 1);
	return [...counts.values()].reduce((sum, count) => sum - (count / bytes.length) * Math.log2(count / bytes.length), 0);
}

t.test("F10: of 10,000 tokens none repeats, and their random parts are near full entropy", async (t) => {
	const made = Array.from({ length: 10_000 }, () => tokens.make({ sessionId: randomId(), generation: 0 }));
	t.equal(new Set(made).size, 10_000);
	const bytes = made.map((token) => Buffer.from(token, "base64url"));
	t.ok(entropy(bytes.map((all) => all.subarray(1, 17))) > 7.99, "the session's 128 bits");
	t.ok(entropy(bytes.map((all) => all.subarray(23))) > 7.99, "the MAC's 256 bits");
	t.equal(new Set(bytes.map((all) => all.subarray(23).toString("hex"))).size, 10_000);
});

t.test("what a token says can be read back, up to the last generation", async (t) => {
	const sessionId = randomId();
	for (const generation of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 48 - 1])
		t.strictSame(tokens.read(tokens.make({ sessionId, generation })), { sessionId, generation });
	t.throws(() => tokens.make({ sessionId, generation: 2 ** 48 }), "never wraps around");
});

t.test("every other text is refused: one bit changed, another spelling, another key", async (t) => {
	const token = tokens.make({ sessionId: randomId(), generation: 3 });
	const bytes = Buffer.from(token, "base64url");
	for (let bit = 0; bit < bytes.length * 8; bit++) {
		const altered = Buffer.from(bytes);
		altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
		if (tokens.read(altered.toString("base64url"))) t.fail(`bit ${bit} does not count`);
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	for (const letter of letters) {
		const other = token.slice(0, -1) + letter;
		if (other !== token && tokens.read(other)) t.fail(`${letter} at the end reads the same`);
	}
	const variants = [
		`${token}=`,
		`${token}==`,
		` ${token}`,
		`${token}\n`,
		`${token}A`,
		token.slice(0, -1),
		token + token,
	];
	variants.push(bytes.toString("base64"), token.toLowerCase(), encodeURIComponent(`${token}=`), `${token}\u0000`, "");
	variants.push(bytes.toString("hex"), `v1.${token}`, `${token.slice(0, 40)} ${token.slice(40)}`, "x".repeat(16_000));
	for (const variant of variants) if (variant !== token) t.equal(tokens.read(variant), undefined);
	t.equal(createRefreshTokens([deriveKey("another", "refresh tokens")]).read(token), undefined);
	t.equal(createRefreshTokens([deriveKey("for this test only", "csrf")]).read(token), undefined);
	const both = createRefreshTokens([deriveKey("another", "refresh tokens"), key]);
	t.match(both.read(token), { generation: 3 }, "the earlier key still verifies");
	t.not(both.make({ sessionId: both.read(token)?.sessionId ?? "", generation: 3 }), token, "and makes nothing");
});

onEachStore((kind) => {
	t.test(`${kind}: F10: neither the store nor the log holds an issued token`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { store } = house.services;
		const ada = await house.addUser("ada");
		const issued: string[] = [];
		const login = pairOf(await house.login("ada"));
		issued.push(login.access, login.refresh);
		let { refresh } = await beginSession(house, ada);
		for (let turn = 0; turn < 20; turn++) {
			const next = pairOf(await refreshWith(house, refresh));
			issued.push(next.access, next.refresh);
			refresh = next.refresh;
		}
		await post(house, "/revoke", { token: login.access }, login.access);
		await post(house, "/introspect", { token: login.refresh }, await introspector(house));
		t.equal((await refreshWith(house, issued[3] ?? "")).statusCode, 401, "one that was used before");
		await refreshWith(house, `${refresh}=`);
		// Refusals are written as security events a moment later.
		const events = async () => (await store.db.selectFrom("security_events").selectAll().execute()).length;
		await until("the refusals are stored", async () => (await events()) >= 2);
		const tables = (await store.db.introspection.getTables()).map(({ name }) => name as keyof Schema);
		t.ok(tables.includes("security_events") && tables.length >= 14, `${tables.length} tables`);
		let dump = "";
		for (const table of tables) dump += JSON.stringify(await store.db.selectFrom(table).selectAll().execute());
		if (kind === "sqlite") {
			const { dataDir } = house.services.config;
			for (const file of readdirSync(dataDir)) dump += readFileSync(join(dataDir, file), "latin1");
		}
		t.ok(dump.includes(ada), "the dump is one");
		for (const [name, text] of Object.entries({ dump, log: house.rawLog() }))
			for (const token of issued) {
				const secret = token.slice(-43);
				if (text.includes(token) || text.includes(secret)) t.fail(`the ${name} holds a token`);
				const mac = Buffer.from(token, "base64url").subarray(-32);
				if (text.includes(mac.toString("hex")) || text.includes(mac.toString("latin1")))
					t.fail(`the ${name} holds a MAC`);
			}
	});
});
