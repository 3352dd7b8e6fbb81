/** The key ring: which keys it refuses, how they lie in the store, and what happens when one leaves. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { pino } from "pino";
import t from "tap";
import { seal, unseal } from "../../../src/keys/seal.ts";
import { assertStrong, type SigningAlgorithm } from "../../../src/keys/strength.ts";
import { deriveKey, openSecret } from "../../../src/secret.ts";
import { openServices, type Services } from "../../../src/services.ts";
import { type TestApp, testApp } from "../../support/app.ts";
import { expectAccepted, expectRefused, hmacToken } from "../../support/forgery.ts";
import { onEachStore, openStoreLocation } from "../../support/stores.ts";
import { until } from "../../support/until.ts";
import { keysOf, skipWithoutVectors, vectorGroups } from "../../support/wycheproof.ts";

const log = pino({ level: "silent" });
const sealingKey = ({ config }: Services) => deriveKey(openSecret(config), "signing keys");
const pem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }) as string;
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve }).privateKey;
const rsa = (modulusLength: number, publicExponent = 65537) =>
	generateKeyPairSync("rsa", { modulusLength, publicExponent }).privateKey;

/** Puts a key into the place of the active one, as somebody with SECRET and the database could. */
async function plant({ services }: TestApp, algorithm: string, privatePem: string, kid = "planted"): Promise<void> {
	await services.store.db
		.updateTable("signing_keys")
		.set({ kid, algorithm, private_key_sealed: seal(sealingKey(services), kid, privatePem) })
		.where("state", "=", "active")
		.execute();
}

/** What the service says when it is started over this store; a start that succeeds is an empty text. */
async function refusalToStart({ services, clock }: TestApp): Promise<string> {
	try {
		const opened = await openServices(services.config, { log, clock });
		await opened.close();
		return "";
	} catch (error) {
		return (error as Error).message;
	}
}

t.test("T24: a weak key in the store stops the start, and the message says why", async (t) => {
	const house = await testApp(t);
	const cases: [algorithm: string, key: KeyObject, reason: RegExp][] = [
		["RS256", rsa(1024), /RS256 is refused: its modulus is under 2048 bits/],
		["RS256", rsa(2047), /RS256 is refused: its modulus is under 2048 bits/],
		["RS256", rsa(2048, 3), /RS256 is refused: its public exponent is under 65537/],
		["RS256", ec("P-256"), /RS256 is refused: it is not an RSA key/],
		[
			"RS256",
			generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).privateKey,
			/RS256 is refused: it is not an RSA key/,
		],
		...["P-192", "P-224", "secp256k1", "P-384", "P-521"].map((curve): [string, KeyObject, RegExp] => [
			"ES256",
			ec(curve === "P-192" ? "prime192v1" : curve),
			/ES256 is refused: it is not on the curve P-256/,
		]),
		["ES256", rsa(2048), /ES256 is refused: it is not on the curve P-256/],
		["EdDSA", ec("P-256"), /EdDSA is refused: it is not an Ed25519 key/],
		["EdDSA", generateKeyPairSync("ed448").privateKey, /EdDSA is refused: it is not an Ed25519 key/],
		...["ES384", "PS256", "HS256", "none", ""].map((algorithm): [string, KeyObject, RegExp] => [
			algorithm,
			ec("P-256"),
			/is refused: the algorithm is unknown/,
		]),
	];
	for (const [algorithm, key, reason] of cases) {
		await plant(house, algorithm, pem(key));
		const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
		t.match(
			await refusalToStart(house),
			reason,
			`${algorithm}, ${key.asymmetricKeyType} ${namedCurve ?? modulusLength}`,
		);
	}
	await plant(house, "ES256", "no key at all");
	t.not(await refusalToStart(house), "", "a text that is no key");
	await plant(house, "ES256", pem(ec("P-256")));
	t.equal(await refusalToStart(house), "", "a good key in the same place lets it start");
});

t.test("T24: the weak keys of Wycheproof stop the start", { skip: skipWithoutVectors }, async (t) => {
	const house = await testApp(t);
	const reasons: Record<string, RegExp> = {
		jws_rsa_roca_key: /CVE-2017-15361/,
		keysize_too_small: /under 2048 bits/,
		exponentOne: /under 65537/,
		wrong_algorithm: /the algorithm is unknown/,
		invalid_algorithm: /the algorithm is unknown/,
		wrong_curve: /./,
		wrong_kty: /./,
		invalid_point: /./,
	};
	let tried = 0;
	for (const group of vectorGroups("json_web_key_test")) {
		const reason = reasons[group.comment];
		const [jwk] = keysOf(group);
		if (!reason || !jwk) continue;
		tried++;
		const check = () => assertStrong(createPublicKey({ key: jwk, format: "jwk" }), jwk.alg as SigningAlgorithm);
		t.throws(check, { message: reason }, `${group.comment} is refused by the ring`);
		let privatePem: string;
		try {
			privatePem = pem(createPrivateKey({ key: jwk, format: "jwk" }));
		} catch {
			t.comment(`${group.comment}: OpenSSL makes no key of it, so it cannot lie in the store`);
			continue;
		}
		await plant(house, jwk.alg ?? "", privatePem);
		t.match(await refusalToStart(house), reason, `${group.comment} stops the start`);
	}
	t.equal(tried, Object.keys(reasons).length);
	for (const [index, key] of [rsa(2048), rsa(3072)].entries())
		t.doesNotThrow(
			() => assertStrong(createPublicKey(key), "RS256"),
			`an ordinary RSA key, ${index}, is not taken for a broken one`,
		);
});

t.test("T02: a private key that is stored after blank lines changes nothing", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const first = await testApp(t, { location });
	await plant(first, "ES256", `\n\n${pem(ec("P-256"))}`);
	const house = await testApp(t, { location });
	const id = await house.addUser("ada");
	const { kid, publicPem } = house.services.keys.signing();
	t.equal(kid, "planted", "it is the key that was planted");
	for (const secret of [publicPem, `\n${publicPem}`, `\n\n${publicPem}`, publicPem.trim(), `\n\n${publicPem.trim()}`])
		for (const bits of [256, 384, 512] as const)
			await expectRefused(t, house, hmacToken(bits, { kid }, house.claims(id), secret), `HS${bits}`);
	await expectAccepted(t, house, house.mint(house.claims(id)), id, "its own signature");
});

onEachStore((kind) => {
	t.test(
		`${kind}: J08: private keys lie in the store encrypted, each bound to its id, under SECRET alone`,
		async (t) => {
			const house = await testApp(t, { store: kind });
			const { store, config, keys } = house.services;
			const dump = JSON.stringify(await store.db.selectFrom("signing_keys").selectAll().execute());
			const secretNumber = createPrivateKey(keys.signing().privatePem).export({ format: "jwk" }).d as string;
			t.notMatch(dump, /PRIVATE KEY|"d"/);
			t.notOk(dump.includes(secretNumber), "the private number is not in the store");
			t.notOk(house.rawLog().includes(secretNumber), "nor in the log");

			const { kid, private_key_sealed: sealed } = await store.db
				.selectFrom("signing_keys")
				.selectAll()
				.executeTakeFirstOrThrow();
			t.equal(unseal(sealingKey(house.services), kid, sealed), keys.signing().privatePem);
			t.throws(() => unseal(sealingKey(house.services), "another kid", sealed), "sealed for another id");
			const other = { ...config, secret: "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl" };
			const rejected = await openServices(other, { log }).then(
				() => "",
				(error: Error) => error.message,
			);
			t.match(rejected, /SECRET does not open the signing keys/, "the message names the setting");

			await store.db.updateTable("signing_keys").set({ kid: "renamed" }).execute();
			t.match(await refusalToStart(house), /SECRET does not open/, "a sealed key under another id is not opened");
		},
	);

	t.test(`${kind}: processes that start at once on an empty store make one key`, async (t) => {
		const { services, clock } = await testApp(t, { store: kind });
		await services.store.db.deleteFrom("signing_keys").execute();
		const opened = await Promise.all(Array.from({ length: 3 }, () => openServices(services.config, { log, clock })));
		t.teardown(() => Promise.all(opened.map((one) => one.close())));
		for (const one of opened) await one.changes.poll();
		const kids = opened.map(({ keys }) => keys.signing().kid);
		t.equal(new Set(kids).size, 1, "all of them sign with it");
		t.equal((await services.store.db.selectFrom("signing_keys").selectAll().execute()).length, 1);
	});

	t.test(
		`${kind}: a key that is deleted from the store takes its tokens with it, also the remembered ones`,
		async (t) => {
			const house = await testApp(t, { store: kind });
			const { store, rotation, changes } = house.services;
			const id = await house.addUser("ada");
			const token = house.mint(house.claims(id));
			for (const time of ["first sight", "remembered"]) await expectAccepted(t, house, token, id, time);
			await store.db.deleteFrom("signing_keys").execute();
			await rotation.start();
			await changes.poll();
			for (const time of ["at once", "and again"])
				await expectRefused(t, house, token, time, /its kid is not in the ring/);
			await expectAccepted(t, house, house.mint(house.claims(id)), id, "a token of the new key");
		},
	);

	t.test(
		`${kind}: a key that cannot be used is left out while the service runs, and stops the next start`,
		async (t) => {
			const house = await testApp(t, { store: kind });
			const { store, keys, changes, users } = house.services;
			const id = await house.addUser("ada");
			const token = house.mint(house.claims(id));
			await expectAccepted(t, house, token, id, "before");
			const { kid } = keys.signing();
			const planted: Record<string, [algorithm: string, sealed: string]> = {
				nonsense: ["ES256", "no sealed key"],
				empty: ["ES256", ""],
				"another secret": ["ES256", seal(Buffer.alloc(32, 1), "another secret", pem(ec("P-256")))],
				"another id": ["ES256", seal(sealingKey(house.services), kid, pem(ec("P-256")))],
				weak: ["RS256", seal(sealingKey(house.services), "weak", pem(rsa(1024)))],
			};
			await store.transaction(async (transaction) => {
				await store.announce(transaction, "keys");
				for (const [kid, [algorithm, private_key_sealed]] of Object.entries(planted))
					await transaction
						.insertInto("signing_keys")
						.values({
							kid,
							algorithm,
							state: "retiring",
							private_key_sealed,
							created_at: 1,
							signs_at: 1,
							ends_at: 4_102_444_800,
							token_seconds: 900,
						})
						.execute();
			});
			await changes.poll();
			const bad = house.logged.filter(({ level }) => Number(level) >= 50);
			t.same(bad.map((line) => line.kid).sort(), Object.keys(planted).sort(), "each is one error in the log");
			for (const line of bad) t.equal(line.msg, "a signing key cannot be used");
			t.notMatch(house.rawLog(), /cannot follow|does not answer/);
			t.equal(changes.reachable(), true);
			t.equal(keys.signing().kid, kid, "the good key signs on");
			t.match(JSON.parse(keys.keySet().body).keys, [{ kid }]);
			t.equal(JSON.parse(keys.keySet().body).keys.length, 1, "and only that one is shown");
			await expectAccepted(t, house, token, id, "remembered");
			await expectAccepted(t, house, house.mint(house.claims(id)), id, "a new token");

			await users.setDisabled(id, true);
			const isRefused = async () => (await house.get("/protected", token)).statusCode !== 200;
			const heardMs = await until("the account is refused", isRefused, { seconds: 5 });
			t.ok(heardMs < 1000, "disabled accounts are heard of within a second all the same");
			await expectRefused(t, house, token, "its live token");
			t.not(await refusalToStart(house), "", "a start over such a store is refused");
			await store.db.deleteFrom("signing_keys").where("kid", "!=", kid).execute();
			t.equal(await refusalToStart(house), "", "and goes well without them");
		},
	);
});
