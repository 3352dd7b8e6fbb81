/** The life of keys: when each is shown, signs, verifies and is gone, whoever turns the wheel and however many at once. */
import t from "tap";
import { publishedSeconds } from "../../../src/keys/life.ts";
import { createRotation } from "../../../src/keys/rotation.ts";
import { deriveKeys } from "../../../src/secret.ts";
import { expectAccepted, expectRefused } from "../../support/forgery.ts";
import { beat, createVerifier, hear, kidOf, ringTest, shownKids } from "../../support/rings.ts";
import { full, rounds } from "../../support/rounds.ts";
import { onEachStore } from "../../support/stores.ts";
import { until } from "../../support/until.ts";

const day = 86_400;

t.test("J05: a new key is shown for longer than the key set may be kept and clocks may differ", async (t) => {
	const house = await (await ringTest(t, "sqlite")).start();
	const cacheControl = (await house.get("/.well-known/jwks.json")).headers["cache-control"];
	const maxAge = Number(/max-age=(\d+)/.exec(cacheControl as string)?.[1]);
	t.ok(publishedSeconds > maxAge + 30, `${publishedSeconds} s, of which verifiers keep the set for ${maxAge}`);
});

onEachStore((kind) => {
	/** PostgreSQL's clock goes on while a test runs: its edges are looked at from further away. */
	const edge = kind === "sqlite" ? 1 : 20;

	t.test(`${kind}: J05: a rotation, second by second: published, signing, retiring, gone`, async (t) => {
		const { start, pass, turn, states } = await ringTest(t, kind);
		const house = await start();
		const other = await start();
		const id = await house.addUser("ada");
		const sign = () => house.app.signAccessToken(house.claims(id));
		const old = house.services.keys.signing().kid;
		t.same(await states(), ["active ES256"], "the first key of an empty store signs at once");

		const { key, made } = await house.services.rotation.rotate();
		t.ok(made);
		t.not(key.kid, old);
		await turn();
		const bySet = (kids: string[]) => [...kids].sort();
		for (const one of [house, other])
			t.same(bySet(await shownKids(one)), bySet([old, key.kid]), "shown at every replica as soon as it hears of it");
		const waits = [0, 30, 300 - 30, publishedSeconds - 300 - edge];
		for (const seconds of waits) {
			await pass(seconds);
			await turn();
			t.same(await states(), ["active ES256", "published ES256"]);
			t.equal(kidOf(await sign()), old, "the old key still signs");
		}
		const last = await sign();
		await pass(edge);
		await turn();
		t.same(await states(), ["retiring ES256", "active ES256"]);
		for (const one of [house, other]) {
			t.equal(one.services.keys.signing().kid, key.kid, "every replica signs with the new key");
			t.same(bySet(await shownKids(one)), bySet([old, key.kid]), "and shows the old one");
		}
		await expectAccepted(t, other, await sign(), id, "a token of the new key");

		await pass(900 + 30 - 1 - edge);
		await turn();
		await expectAccepted(t, other, last, id, "the last token of the old key, up to its end");
		t.ok((await shownKids(house)).includes(old), "which other services can verify as well");
		await pass(edge + 1);
		await turn();
		await expectRefused(t, other, last, "it has ended now");
		t.ok((await shownKids(house)).includes(old), "a margin for the clocks of replicas");
		await pass(300);
		await turn();
		t.same(await states(), ["gone ES256", "active ES256"]);
		for (const one of [house, other]) t.same(await shownKids(one), [key.kid]);
		await expectRefused(t, other, last, "under a key that is gone", /its kid is not in the ring/);
		const rows = await house.services.store.db.selectFrom("signing_keys").selectAll().orderBy("created_at").execute();
		t.equal(rows[0]?.private_key_sealed, "", "of a key that is gone the private half is erased");
		t.equal(rows[0]?.kid, old, "its row stays");
	});

	t.test(`${kind}: a replica that has not heard of the change yet accepts what a faster one has signed`, async (t) => {
		const { start, pass } = await ringTest(t, kind);
		const fast = await start();
		const slow = await start();
		const id = await fast.addUser("ada");
		await fast.services.rotation.rotate();
		await beat(fast.services);
		await beat(slow.services);
		await slow.services.changes.close();
		await pass(publishedSeconds);
		await fast.services.rotation.advance();
		await hear(fast.services);
		t.not(fast.services.keys.signing().kid, slow.services.keys.signing().kid);
		await expectAccepted(
			t,
			slow,
			await fast.app.signAccessToken(fast.claims(id)),
			id,
			"by the new key, at the slow one",
		);
		await expectAccepted(
			t,
			fast,
			await slow.app.signAccessToken(slow.claims(id)),
			id,
			"by the old key, at the fast one",
		);
	});

	const times = rounds(50);
	t.test(`${kind}: J06: three replicas that rotate at once make one key, ${times} times`, async (t) => {
		const { start, pass, turn } = await ringTest(t, kind);
		const replicas = [await start(), await start(), await start()];
		const [{ services }] = replicas as [(typeof replicas)[0]];
		const count = async () => (await services.rotation.list()).length;
		for (let round = 1; round <= times; round++) {
			const made = await Promise.all(replicas.map((one) => one.services.rotation.rotate()));
			t.equal(made.filter((one) => one.made).length, 1, "one of them made a key");
			t.equal(new Set(made.map(({ key }) => key.kid)).size, 1, "all of them name that one");
			t.equal(await count(), round + 1, `round ${round}: one key more`);
			t.notOk((await services.rotation.rotate()).made, "while it is published nobody makes another");
			await pass(publishedSeconds);
			await turn();
			for (const one of replicas) t.equal(one.services.keys.signing().kid, made[0]?.key.kid, "it signs everywhere");
		}
	});

	t.test(`${kind}: a key that has signed for KEY_ROTATION_DAYS is replaced, once, by itself`, async (t) => {
		const { start, pass, turn, states } = await ringTest(t, kind);
		const replicas = [await start({ KEY_ROTATION_DAYS: "7" }), await start({ KEY_ROTATION_DAYS: "7" })];
		const [house] = replicas as [(typeof replicas)[0]];
		const first = house.services.keys.signing().kid;
		await pass(7 * day - 30);
		await turn();
		t.same(await states(), ["active ES256"], "not before");
		await pass(30);
		await turn();
		t.same(await states(), ["active ES256", "published ES256"], "one new key, though both looked");
		t.equal(house.services.keys.signing().kid, first);
		await pass(publishedSeconds);
		await turn();
		t.same(await states(), ["retiring ES256", "active ES256"]);
		await pass(7 * day - 30);
		await turn();
		t.same(await states(), ["gone ES256", "active ES256"], "its age counts from when it began to sign");
		await pass(30);
		await turn();
		t.same(await states(), ["gone ES256", "active ES256", "published ES256"], "and so on");
	});

	t.test(`${kind}: the active key grows older also while nobody can read the ring`, async (t) => {
		const { start, pass } = await ringTest(t, kind);
		const { services } = await start({ KEY_ROTATION_DAYS: "7" });
		let nowMs = 5000;
		const rotation = createRotation({
			...services,
			makeSecret: () => t.fail("there are keys"),
			getSealingKeys: () => deriveKeys(services.config, "signing keys"),
			nowMs: () => nowMs,
		});
		t.match(rotation.stats(), { activeSeconds: 0, rotationSeconds: 7 * day });
		await pass(1000);
		await rotation.advance();
		const { activeSeconds } = rotation.stats();
		t.ok(activeSeconds >= 1000 && activeSeconds < 1000 + 60, `${activeSeconds} s`);
		nowMs += 8 * day * 1000;
		t.equal(rotation.stats().activeSeconds, activeSeconds + 8 * day);
	});

	t.test(`${kind}: the housekeeping of a running server turns the wheel, and logs it`, async (t) => {
		const { start, pass } = await ringTest(t, kind);
		const house = await start();
		const { key } = await house.services.rotation.rotate();
		await pass(publishedSeconds);
		const { keys } = house.services;
		await until("the new key signs", () => keys.signing().kid === key.kid, { seconds: 15, everyMs: 100 });
		const changed = house.logged.filter(({ event }) => String(event).startsWith("key_"));
		t.match(
			changed.map(({ event, kid }) => [event, kid === key.kid]),
			[
				["key_active", false],
				["key_retiring", false],
				["key_active", true],
			],
		);
	});

	t.test(`${kind}: an old key outlives the longest token that any replica has signed with it`, async (t) => {
		const { clock, start, pass, turn } = await ringTest(t, kind);
		const patient = await start({ ACCESS_TOKEN_SECONDS: "7200" });
		const id = await patient.addUser("ada");
		const hasty = await start({ ACCESS_TOKEN_SECONDS: "60" });
		await hasty.services.rotation.rotate();
		await turn();
		await pass(publishedSeconds);
		const [first, second] = [
			await patient.app.signAccessToken(patient.claims(id)),
			() => patient.app.signAccessToken(patient.claims(id)),
		];
		await turn();
		await hasty.services.rotation.rotate();
		await turn();
		await pass(publishedSeconds);
		const token = await second();
		t.not(kidOf(token), kidOf(first), "the key that the hasty one made signs for the patient one too");
		await turn();
		t.not(hasty.services.keys.signing().kid, kidOf(token));
		const end = clock.now() + 7200;
		await pass(end - publishedSeconds - clock.now() - 30);
		await turn();
		await expectAccepted(t, hasty, first, id, "the first key is there while its token lives");
		await pass(publishedSeconds);
		await turn();
		await expectAccepted(t, hasty, token, id, "so is the second");
		await pass(400);
		await turn();
		t.equal((await shownKids(hasty)).length, 1, "then both are gone");
	});

	const wanted = full ? 20 : 3;
	t.test(
		`${kind}: ${wanted} rotations under load fail no request, here or at a verifier that keeps the key set`,
		async (t) => {
			const { clock, start, pass, turn } = await ringTest(t, kind);
			const replicas = [await start({}), await start({})];
			const [house] = replicas as [(typeof replicas)[0]];
			const id = await house.addUser("ada");
			const verifiers = Array.from({ length: 5 }, (_, index) => createVerifier(replicas[index % 2] ?? house, clock));
			const tokens: { token: string; signedAt: number }[] = [];
			const used = new Set<string>();
			const failures: string[] = [];
			let verified = 0;
			for (let step = 0; used.size <= wanted && step < 2000; step++) {
				// Two replicas rotate as often as they can, each at its own moment.
				await Promise.all(replicas.map(({ services }) => services.rotation.rotate()));
				await pass(35);
				await turn();
				for (const one of replicas) {
					const token = await one.app.signAccessToken(one.claims(id));
					tokens.push({ token, signedAt: clock.now() });
					used.add(kidOf(token));
				}
				while ((tokens[0]?.signedAt ?? 0) + 900 < clock.now()) tokens.shift();
				const asked = [tokens[0], tokens[tokens.length >> 1], tokens.at(-1)].map((one) => one?.token ?? "");
				// A verifier that asks at every step would always be up to date: each has pauses of its own.
				const awake = verifiers.filter((_, index) => step % (index + 1) === 0);
				await Promise.all([
					...awake.flatMap((verify) =>
						asked.map(async (token) => {
							verified++;
							await verify(token).catch((error: Error) => failures.push(`step ${step}: ${error.message}`));
						}),
					),
					...replicas.flatMap(({ get }) =>
						asked.map(async (token) => {
							const { statusCode } = await get("/protected", token);
							if (statusCode !== 200) failures.push(`step ${step}: /protected answers ${statusCode}`);
						}),
					),
				]);
			}
			t.equal(used.size, wanted + 1, "so many keys have signed");
			t.ok(verified > 50 * wanted, `${verified} verifications elsewhere`);
			t.same(failures, []);
		},
	);
});
