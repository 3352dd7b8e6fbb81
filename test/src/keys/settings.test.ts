/** What happens to the ring when SIGNING_ALGORITHM or SECRET is changed: nobody is logged out, nothing goes back and forth. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { loadConfig } from "../../../src/config/config.ts";
import { openPrivateKey } from "../../../src/keys/key-pair.ts";
import { publishedSeconds } from "../../../src/keys/life.ts";
import { deriveKeys } from "../../../src/secret.ts";
import { openServices } from "../../../src/services.ts";
import { form, testApp } from "../../support/app.ts";
import { expectAccepted } from "../../support/forgery.ts";
import { createVerifier, kidOf, ringTest } from "../../support/rings.ts";
import { onEachStore, openStoreLocation } from "../../support/stores.ts";

const algorithms = ["ES256", "RS256", "EdDSA"] as const;
const day = 86_400;
const secrets = ["one", "two"].map((word) =>
	Buffer.from(`${word} secret of this test, nothing to hide`).toString("base64"),
);
const [one = "", two = ""] = secrets;

onEachStore((kind) => {
	for (const [index, before] of algorithms.entries()) {
		const after = algorithms[(index + 1) % 3] ?? before;
		const back = algorithms[(index + 2) % 3] ?? before;
		t.test(
			`${kind}: from ${before} to ${after}: shown first, then it signs, and replicas of both settings agree`,
			async (t) => {
				const { clock, start, pass, turn, states } = await ringTest(t, kind);
				const old = await start({ SIGNING_ALGORITHM: before });
				const id = await old.addUser("ada");
				const verify = createVerifier(old, clock);
				const token = await old.app.signAccessToken(old.claims(id));
				await verify(token);

				const young = await start({ SIGNING_ALGORITHM: after });
				await turn();
				t.same(await states(), [`active ${before}`, `published ${after}`]);
				for (const house of [old, young]) {
					const signed = await house.app.signAccessToken(house.claims(id));
					t.equal(kidOf(signed), kidOf(token), "both sign with the old key still");
					await verify(signed);
				}
				await pass(publishedSeconds);
				await turn();
				t.same(await states(), [`retiring ${before}`, `active ${after}`]);
				for (const house of [old, young]) {
					const signed = await house.app.signAccessToken(house.claims(id));
					t.equal(house.services.keys.signing().algorithm, after, "now both with the new one");
					await verify(signed);
					for (const door of [old, young]) {
						await expectAccepted(t, door, signed, id, "new");
						await expectAccepted(t, door, token, id, "old");
					}
				}
				// A replica that keeps the old setting for months never turns it back.
				for (let age = 0; age < 90; age += 10) {
					await pass(10 * day);
					await turn();
					await pass(publishedSeconds);
					await turn();
				}
				const all = await states();
				t.same([...new Set(all.slice(1).map((state) => state.split(" ")[1]))], [after], `only ${after} since: ${all}`);
				t.ok(all.length <= 5, "and one key a month");
			},
		);

		t.test(`${kind}: ${before}: a change that is taken back, or made again, before it held`, async (t) => {
			const { start, pass, turn, states } = await ringTest(t, kind);
			await start({ SIGNING_ALGORITHM: before });
			await start({ SIGNING_ALGORITHM: after });
			await start({ SIGNING_ALGORITHM: after });
			t.same(await states(), [`active ${before}`, `published ${after}`], "a second replica changes nothing");
			await pass(20);
			await start({ SIGNING_ALGORITHM: back });
			t.same(await states(), [`active ${before}`, `gone ${after}`, `published ${back}`], "the last start wins");
			await pass(20);
			await start({ SIGNING_ALGORITHM: before });
			await pass(publishedSeconds);
			await turn();
			t.same(await states(), [`active ${before}`, `gone ${after}`, `gone ${back}`]);
		});
	}

	t.test(`${kind}: SECRET is changed by way of SECRET_PREVIOUS, and nobody is logged out`, async (t) => {
		const { start, turn, pass } = await ringTest(t, kind);
		const old = await start({ SECRET: one });
		const id = await old.addUser("ada");
		await old.services.rotation.rotate();
		await pass(publishedSeconds);
		await turn();
		await old.services.rotation.rotate();
		await turn();
		const { access_token: token, refresh_token } = (await old.login("ada")).json<Record<string, string>>();
		const refusal = async (settings: Record<string, string>) => {
			const { config } = loadConfig({ ...environment(old.services.config), ...settings });
			const opened = await openServices(config, { log: pino({ level: "silent" }), clock: old.clock }).catch(
				(error: Error) => error.message,
			);
			if (typeof opened === "string") return opened;
			await opened.close();
			return "";
		};
		t.match(await refusal({ SECRET: two }), /SECRET does not open .* SECRET_PREVIOUS/, "the remedy is named");

		const young = await start({ SECRET: two, SECRET_PREVIOUS: one });
		await expectAccepted(t, young, token ?? "", id, "an access token from before");
		const answer = await young.app.inject({
			method: "POST",
			url: "/refresh",
			...form({ refresh_token: refresh_token ?? "" }),
		});
		t.equal(answer.statusCode, 200, "a refresh token from before");
		await young.services.rotation.rotate();
		await turn();
		const { signing, keySet } = old.services.keys;
		t.equal(
			JSON.parse(keySet().body).keys.length,
			3,
			"a replica that runs with the old one alone keeps what it has opened",
		);
		await expectAccepted(t, young, old.mint(old.claims(id)), id, `it signs on with ${signing().kid}`);

		t.equal(await refusal({ SECRET: two }), "", "the next start does without SECRET_PREVIOUS");
		t.match(await refusal({ SECRET: one }), /SECRET does not open/, "and the old one opens nothing any more");
		t.equal(await refusal({ SECRET: one, SECRET_PREVIOUS: two }), "", "unless the way back is taken the same way");
	});

	t.test(`${kind}: J08: no private key can be read in the store, its files or the log, in any state`, async (t) => {
		const location = await openStoreLocation(t, kind);
		const house = await testApp(t, { location, logLevel: "trace" });
		const { rotation, store, config, changes } = house.services;
		const sealingKeys = deriveKeys(config, "signing keys");
		const pems: string[] = [];
		const note = async () => {
			const rows = await store.db.selectFrom("signing_keys").selectAll().where("state", "!=", "gone").execute();
			for (const row of rows) pems.push(openPrivateKey(row, sealingKeys).privatePem);
		};
		await note();
		await rotation.rotate();
		await note();
		await rotation.revoke(house.services.keys.signing().kid);
		await changes.poll();
		await rotation.rotate();
		await note();
		t.match((await rotation.list()).map(({ state }) => state).sort(), ["active", "gone", "published"]);

		let dump = `${house.rawLog()}${JSON.stringify(await store.db.selectFrom("signing_keys").selectAll().execute())}`;
		if (kind === "sqlite")
			for (const name of readdirSync(location.dataDir)) {
				const path = join(location.dataDir, name);
				t.equal(statSync(path).mode & 0o777, 0o600, `${name} is its owner's`);
				dump += readFileSync(path, "latin1");
			}
		t.ok(dump.length > 1000);
		t.notMatch(dump, /PRIVATE KEY/);
		for (const pem of new Set(pems)) {
			const body = pem.split("\n").slice(1, -2).join("");
			const bytes = Buffer.from(body, "base64");
			// The private number itself: of P-256 it begins at byte 36 of PKCS #8.
			const number = bytes.subarray(36, 68);
			for (const text of [
				body,
				bytes.toString("latin1"),
				...(["base64", "base64url", "hex", "latin1"] as const).map((encoding) => number.toString(encoding)),
			])
				t.notOk(dump.includes(text), "not in any spelling");
		}
	});
});

/** A configuration as the environment that it came from. */
const environment = ({
	dataDir,
	databaseUrl,
	issuer,
}: {
	dataDir: string;
	databaseUrl: string | undefined;
	issuer: string;
}) => ({
	DATA_DIR: dataDir,
	ISSUER: issuer,
	HASH_COST: "10",
	...(databaseUrl ? { DATABASE_URL: databaseUrl } : {}),
});
