/** The emergency: a key is taken out at once, and everything it signed with it. */
import t from "tap";
import { publishedSeconds } from "../../../src/keys/life.ts";
import { createRotation } from "../../../src/keys/rotation.ts";
import { expectAccepted, expectRefused } from "../../support/forgery.ts";
import { kidOf, ringTest, shownKids } from "../../support/rings.ts";
import { onEachStore } from "../../support/stores.ts";
import { until } from "../../support/until.ts";

const notFound = { code: "KEY_NOT_FOUND" };

onEachStore((kind) => {
	t.test(`${kind}: J07: the tokens of a revoked key are refused at every replica within a second`, async (t) => {
		const { start, pass, states } = await ringTest(t, kind);
		const replicas = [await start(), await start(), await start()];
		const [house] = replicas as [(typeof replicas)[0]];
		const id = await house.addUser("ada");
		const remembered = await house.app.signAccessToken(house.claims(id));
		const unseen = await house.app.signAccessToken(house.claims(id));
		for (const one of replicas) await expectAccepted(t, one, remembered, id, "before, and remembered from now on");

		await pass(1);
		const next = await house.services.rotation.revoke(kidOf(remembered));
		const tookMs = await Promise.all(
			replicas.map((one) => {
				const isRefused = async () => (await one.get("/protected", remembered)).statusCode !== 200;
				return until("the remembered one is refused", isRefused, { seconds: 5, everyMs: 10 });
			}),
		);
		t.ok(Math.max(...tookMs) < 1000, `${tookMs.map(Math.round).join(", ")} ms`);
		for (const one of replicas) {
			await expectRefused(t, one, remembered, "the remembered one", /its kid is not in the ring/);
			await expectRefused(t, one, unseen, "one that was never seen", /its kid is not in the ring/);
		}
		t.same(await states(), ["gone ES256", "active ES256"], "a new key signs at once");
		for (const one of replicas) {
			t.equal(one.services.keys.signing().kid, next?.kid);
			t.same(await shownKids(one), [next?.kid], "it is the only one that is shown");
			await expectAccepted(t, one, await one.app.signAccessToken(one.claims(id)), id, "a token of the new key");
		}
	});

	t.test(`${kind}: revoking the active key lets a published one sign at once`, async (t) => {
		const { start, pass, turn, states } = await ringTest(t, kind);
		const house = await start();
		const active = house.services.keys.signing().kid;
		await pass(1);
		const { key } = await house.services.rotation.rotate();
		t.equal((await house.services.rotation.revoke(active))?.kid, key.kid);
		await turn();
		t.same(await states(), ["gone ES256", "active ES256"]);
		t.equal(house.services.keys.signing().kid, key.kid);
	});

	t.test(`${kind}: a published or a retiring key is revoked without a change of the one that signs`, async (t) => {
		const { start, pass, turn, states } = await ringTest(t, kind);
		const house = await start();
		const id = await house.addUser("ada");
		const { rotation, keys } = house.services;
		const token = await house.app.signAccessToken(house.claims(id));
		await pass(1);
		const { key: unused } = await rotation.rotate();
		t.equal(await rotation.revoke(unused.kid), undefined);
		await turn();
		t.same(await states(), ["active ES256", "gone ES256"]);
		await pass(publishedSeconds);
		await turn();
		t.equal(keys.signing().kid, kidOf(token), "it never signs");

		const { key } = await rotation.rotate();
		await pass(publishedSeconds);
		await turn();
		await expectAccepted(t, house, token, id, "under the retiring key");
		t.equal(await rotation.revoke(kidOf(token)), undefined);
		await turn();
		await expectRefused(t, house, token, "at once, though it has not expired");
		t.equal(keys.signing().kid, key.kid);
	});

	t.test(
		`${kind}: an id that never was, or is gone, is refused and changes nothing; two at once make one key`,
		async (t) => {
			const { start, pass, turn, states } = await ringTest(t, kind);
			const replicas = [await start(), await start()];
			const [house] = replicas as [(typeof replicas)[0]];
			const { kid } = house.services.keys.signing();
			for (const wrong of ["", "nobody", "__proto__", `${kid}x`, kid.slice(1), "' or 1=1 --"])
				await t.rejects(house.services.rotation.revoke(wrong), notFound, JSON.stringify(wrong));
			t.same(await states(), ["active ES256"]);
			await pass(1);
			const outcomes = await Promise.allSettled(replicas.map(({ services }) => services.rotation.revoke(kid)));
			t.same(outcomes.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
			t.same(await states(), ["gone ES256", "active ES256"]);
			await t.rejects(house.services.rotation.revoke(kid), notFound, "it is gone already");
			await turn();
			t.equal((await shownKids(house)).length, 1);
		},
	);

	t.test(
		`${kind}: a key is revoked from a machine with another SECRET, where no new key is needed for it`,
		async (t) => {
			const { start, pass, turn, states } = await ringTest(t, kind);
			const { services } = await start();
			const { store, replicaReports, config, rotation } = services;
			const stranger = createRotation({
				store,
				replicaReports,
				config,
				makeSecret: () => t.fail("there are keys"),
				getSealingKeys: () => [Buffer.alloc(32, 1)],
			});
			const first = services.keys.signing().kid;
			await pass(1);
			await rotation.rotate();
			await pass(publishedSeconds);
			await turn();
			await stranger.revoke(first);
			t.same(await states(), ["gone ES256", "active ES256"], "a retiring one");
			const { key } = await rotation.rotate();
			await stranger.revoke(key.kid);
			t.same(await states(), ["gone ES256", "active ES256", "gone ES256"], "a published one");
			await pass(1);
			const { key: next } = await rotation.rotate();
			await turn();
			t.equal(
				(await stranger.revoke(services.keys.signing().kid))?.kid,
				next.kid,
				"the active one, which has a successor",
			);
			await turn();
			t.equal(services.keys.signing().kid, next.kid);
			await t.rejects(stranger.revoke(next.kid), /SECRET does not open/, "but not one that would need a new key");
			t.equal((await states()).at(-1), "active ES256");
		},
	);

	t.test(`${kind}: a key that SECRET does not open can be revoked, and SECRET has to open another`, async (t) => {
		const { start, pass, turn, states } = await ringTest(t, kind);
		const house = await start();
		const { rotation, store, keys } = house.services;
		await pass(1);
		const { key } = await rotation.rotate();
		await turn();
		const spoil = (kid: string) =>
			store.db.updateTable("signing_keys").set({ private_key_sealed: "spoilt" }).where("kid", "=", kid).execute();
		await spoil(key.kid);
		await rotation.revoke(key.kid);
		t.same(await states(), ["active ES256", "gone ES256"]);
		const { kid } = keys.signing();
		await spoil(kid);
		await t.rejects(rotation.revoke(kid), /SECRET does not open/, "no new key under a secret that may be a wrong one");
		await t.rejects(rotation.rotate(), /SECRET does not open/);
		t.same(await states(), ["active ES256", "gone ES256"], "nothing was changed");
	});
});
