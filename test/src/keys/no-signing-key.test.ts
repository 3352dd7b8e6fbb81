/** A replica that was left behind when SECRET changed: it says that it cannot sign, and goes on with all else. */
import t from "tap";
import { publishedSeconds } from "../../../src/keys/life.ts";
import { testSecret } from "../../support/process.ts";
import { hear, kidOf, ringTest } from "../../support/rings.ts";
import { beginSession, refreshWith, rotate } from "../../support/sessions.ts";
import { onEachStore } from "../../support/stores.ts";

const newSecret = "YW5vdGhlciBzZWNyZXQsIG5vdCB0aGUgb25lIGFib3Zl";

onEachStore((kind) => {
	t.test(
		`${kind}: a replica that SECRET opens no active key for takes no traffic, and signs with no other`,
		async (t) => {
			const { start, pass, turn, states } = await ringTest(t, kind);
			const late = await start();
			const early = await start({ SECRET: newSecret, SECRET_PREVIOUS: testSecret });
			const id = await late.addUser("ada");
			const { access, refresh } = await beginSession(late, id);
			await early.services.rotation.rotate();
			await turn();
			t.same((await late.get("/readyz")).json(), { status: "ok", store: "up" }, "the old key signs, which it has open");
			const { refresh: second } = await rotate(t, late, refresh);

			await pass(publishedSeconds);
			await turn();
			t.same(await states(), ["active ES256", "published ES256"], "by itself the new key waits for it");
			// Of a version from before these reports nobody knows that it is there.
			await late.services.replicaReports.leave();
			await early.services.rotation.advance();
			for (const { services } of [early, late]) await hear(services);
			t.same(await states(), ["retiring ES256", "active ES256"]);
			const ready = await late.get("/readyz");
			t.equal(ready.statusCode, 503);
			t.strictSame(ready.json(), { status: "no-signing-key", store: "up" });
			for (const [what, answer] of [
				["a login", await late.login("root")],
				["a refresh", await refreshWith(late, second)],
			] as const) {
				t.match(answer.json(), { statusCode: 503, code: "NO_SIGNING_KEY" }, what);
				t.equal(answer.headers["retry-after"], "2", what);
			}
			t.throws(() => late.services.keys.signing(), { code: "NO_SIGNING_KEY" }, "not with the retiring one");
			t.equal((await late.get("/protected", access)).statusCode, 200, "a token of the old key is verified on");
			t.equal((await late.get("/livez")).statusCode, 200, "a restart is for the operator to do");

			t.equal((await early.get("/readyz")).statusCode, 200);
			const next = await rotate(t, early, second, "the other replica takes the same refresh token");
			const { kid } = early.services.keys.signing();
			t.equal(kidOf(next.access), kid);
			const restarted = await start({ SECRET: newSecret, SECRET_PREVIOUS: testSecret });
			t.equal((await restarted.get("/readyz")).statusCode, 200, "restarted with the new secret it is ready");
			t.equal(restarted.services.keys.signing().kid, kid);
		},
	);
});
