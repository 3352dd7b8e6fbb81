/** A new key signs once every live replica has reported that it loaded it; who is live, and who may say so. */
import t from "tap";
import { publishedSeconds } from "../../../src/keys/life.ts";
import { liveSeconds } from "../../../src/replicas.ts";
import type { TestApp } from "../../support/app.ts";
import { expectAccepted } from "../../support/forgery.ts";
import { beat, hear, ringTest } from "../../support/rings.ts";
import { onEachStore } from "../../support/stores.ts";

onEachStore((kind) => {
	/** Two replicas and a published key whose time has come; the second has not heard of it. */
	async function overdue(t: Parameters<typeof ringTest>[0]) {
		const ring = await ringTest(t, kind);
		const [house, deaf] = [await ring.start(), await ring.start()];
		await deaf.services.changes.close();
		const { rotation } = house.services;
		const { key } = await rotation.rotate();
		await ring.pass(publishedSeconds);
		await beat(house.services);
		await report(deaf);
		const advance = async () => {
			await beat(house.services);
			return rotation.advance();
		};
		return { ...ring, house, deaf, rotation, kid: key.kid, advance };
	}
	/** Reports what it has loaded, without asking for what is new. */
	const report = ({ services }: TestApp) => services.replicaReports.beat(services.keys.kids());
	const signs = ({ services }: TestApp) => services.keys.signing().kid;

	t.test(`${kind}: J05: a key waits for the last live replica that has not loaded it`, async (t) => {
		const { house, deaf, rotation, kid, advance, states, pass } = await overdue(t);
		const { id: missing } = deaf.services.replicaReports;
		t.same(await advance(), { changed: [], heldUpBy: [missing] });
		t.same(await rotation.findWaiting(), { kid, time: false, replicas: [missing], server: false });
		t.not(signs(house), kid);
		await pass(liveSeconds);
		await report(deaf);
		await advance();
		t.same(await states(), ["active ES256", "published ES256"], "however long it lives and has not");

		await hear(deaf.services);
		await report(deaf);
		t.match((await advance()).changed, [{ state: "retiring" }, { kid, state: "active" }]);
		await hear(house.services);
		t.equal(signs(house), kid);
		t.equal(await rotation.findWaiting(), undefined);
		const userId = await house.addUser("ada");
		const token = await house.app.signAccessToken(house.claims(userId));
		await expectAccepted(t, deaf, token, userId, "the slow one verifies it");
	});

	t.test(`${kind}: a replica that died holds a key up for ${liveSeconds} seconds, and its row goes`, async (t) => {
		const { house, deaf, advance, states, pass, kid } = await overdue(t);
		const { db } = house.services.store;
		const rows = async () => (await db.selectFrom("replicas").select("id").execute()).map(({ id }) => id).sort();
		/** Its last report was so many seconds ago. */
		const silentFor = (seconds: number) =>
			db
				.updateTable("replicas")
				.set(({ ref }) => ({ seen_at: house.services.store.nowExpression(), since_at: ref("since_at") }))
				.execute()
				.then(() =>
					db
						.updateTable("replicas")
						.set(({ eb }) => ({ seen_at: eb("seen_at", "-", seconds) }))
						.where("id", "=", deaf.services.replicaReports.id)
						.execute(),
				);
		await silentFor(liveSeconds - 3);
		await advance();
		t.same(await states(), ["active ES256", "published ES256"]);
		await silentFor(liveSeconds);
		t.match((await advance()).changed, [{ state: "retiring" }, { kid, state: "active" }]);
		await house.services.replicaReports.purge();
		t.equal((await rows()).length, 2, "its row is there for a while");
		await silentFor(5 * liveSeconds);
		await house.services.replicaReports.purge();
		t.same(await rows(), [house.services.replicaReports.id]);
		await pass(1);
		await report(deaf);
		t.equal((await rows()).length, 2, "one that was only frozen comes back");
	});

	t.test(`${kind}: a replica that ends holds nothing up`, async (t) => {
		const { house, deaf, advance, states } = await overdue(t);
		await deaf.app.close();
		await deaf.services.replicaReports.leave();
		await advance();
		t.same(await states(), ["retiring ES256", "active ES256"]);
		const { store, replicaReports } = house.services;
		t.same((await replicaReports.read(store.db, await store.now())).live.length, 1);
	});

	t.test(`${kind}: after an outage of the store nobody is taken for dead who could not report`, async (t) => {
		const { house, deaf, advance, states, pass } = await overdue(t);
		const { db } = house.services.store;
		// All reports are as old as the outage is long, and the first replica is back.
		await db
			.updateTable("replicas")
			.set(({ eb }) => ({ seen_at: eb("seen_at", "-", 120) }))
			.execute();
		await advance();
		t.same(await states(), ["active ES256", "published ES256"], "although it knows of no other");
		await pass(liveSeconds - 5);
		await advance();
		t.same(await states(), ["active ES256", "published ES256"], `for ${liveSeconds} seconds it waits for reports`);
		await report(deaf);
		await pass(5);
		t.same((await advance()).heldUpBy, [deaf.services.replicaReports.id], "the other one did report");
	});

	t.test(`${kind}: an emergency waits for nobody`, async (t) => {
		const { house, rotation, kid, states } = await overdue(t);
		const successor = await rotation.revoke(signs(house));
		// As it was before: since when it signs is the time of the emergency, perhaps a second later.
		const { signs_at: _, ...listed } = (await rotation.list()).find((key) => key.kid === kid) ?? {};
		t.match(successor, { ...listed, state: "published" });
		t.same(await states(), ["gone ES256", "active ES256"]);
		await hear(house.services);
		t.equal(signs(house), kid);
	});

	t.test(`${kind}: a report from the time when a clock was ahead keeps nobody alive`, async (t) => {
		const ring = await ringTest(t, kind);
		const { services } = await ring.start();
		const { store, replicaReports } = services;
		const now = await store.now();
		const ahead = now + 86_400;
		await store.db
			.insertInto("replicas")
			.values({ id: "dead", seen_at: ahead, since_at: now - 900, kids: "" })
			.execute();
		await store.db
			.updateTable("replicas")
			.set({ seen_at: ahead, since_at: now - 900 })
			.execute();
		t.same(await replicaReports.read(store.db, now), { live: [], knowsOthers: false });
		await replicaReports.beat(["one"]);
		const { live, knowsOthers } = await replicaReports.read(store.db, await store.now());
		t.same(live, [{ id: replicaReports.id, kids: ["one"] }], "who reports again is live");
		t.equal(knowsOthers, false, "and gives the others the time to do so");
		await replicaReports.purge();
		t.same(await store.db.selectFrom("replicas").select("id").execute(), [{ id: replicaReports.id }]);
	});
});
