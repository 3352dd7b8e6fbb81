/** PostgreSQL is stopped under load: what needs it is refused at once, everything else goes on, and it comes back alone. */
import t from "tap";
import { full, progress } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createClient, failures, startLoad, summary } from "./support/load.ts";
import { keepsItsPromises, untilLogin, watch } from "./support/outage.ts";
import { needs } from "./support/packages.ts";
import { addUsers, startReplicas } from "./support/replicas.ts";

const seconds = full ? 60 : 15;

t.test(
	"Z06, Z11, R14, fault 4: without its database the service refuses logins and writes fast, verifies on, and recovers alone",
	needs("haproxy"),
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url);
		const { url } = await startBalancer(
			t,
			replicas.map(({ port }) => port),
		);
		const names = await addUsers(database, 4);
		const client = createClient();
		t.teardown(client.close);
		const pair = await client.login(url, "user0");
		const load = await startLoad(t, url, names, {
			perSecond: 50,
			sessions: 8,
			mix: { protected: 100, refresh: 0, login: 0 },
		});

		await database.stop();
		keepsItsPromises(t, await watch(url, "user0", pair, seconds));
		await database.start();
		const recoveredMs = await untilLogin(url, "user0");
		progress(`the first login ${recoveredMs.toFixed(0)} ms after PostgreSQL was ready`);
		t.ok(recoveredMs <= 5000, "a login works within 5 s");
		const again = await client.send(`${url}/refresh`, { fields: { refresh_token: pair.refresh_token } });
		t.equal(again.status, 200, "the session was neither ended nor moved on by what was refused");

		const samples = await load.stop();
		t.comment(summary(samples));
		t.same(failures(samples), [], "no check of a token failed");
		for (const { server } of replicas) t.equal(server.child.exitCode, null, "it was not restarted");
	},
);

t.test(
	"Z06, Z11, fault 4: knowledge that is too old accepts no token, and readiness says so; live stays live",
	async (t) => {
		const database = await startDatabase(t);
		const patience = ["0", "3"];
		const replicas = await startReplicas(t, database.url, {
			count: 2,
			settings: (index) => ({ REVOCATION_MAX_STALENESS_SECONDS: patience[index] }),
		});
		const [strict, short] = replicas as [(typeof replicas)[0], (typeof replicas)[0]];
		const client = createClient();
		t.teardown(client.close);
		const { access_token: token } = await client.login(strict.url, "root");
		const states = async ({ url }: { url: string }) => ({
			protected: (await client.send(`${url}/protected`, { token })).status,
			ready: (await client.send(`${url}/readyz`)).status,
			live: (await client.send(`${url}/livez`)).status,
		});
		const good = { protected: 200, ready: 200, live: 200 };
		const refused = { protected: 503, ready: 503, live: 200 };
		t.same(await states(strict), good);

		await database.stop();
		const untilRefused = (replica: { url: string }) =>
			until("tokens are refused", async () => (await states(replica)).protected !== 200, { seconds: 30 });
		const [strictMs, shortMs] = await Promise.all([untilRefused(strict), untilRefused(short)]);
		progress(`refused after ${strictMs.toFixed(0)} ms with 0 s of patience, after ${shortMs.toFixed(0)} ms with 3`);
		t.ok(strictMs < 2000, "with REVOCATION_MAX_STALENESS_SECONDS=0 at the first poll that fails");
		t.ok(shortMs > 2000 && shortMs < 5000, "with 3 after 3 seconds");
		t.same(await states(strict), refused);
		t.same(await states(short), refused);

		await database.start();
		for (const replica of replicas) {
			const recoveredMs = await until("it is ready", async () => (await states(replica)).ready === 200, {
				seconds: 30,
			});
			t.ok(recoveredMs <= 5000, `and it recovers alone: ${recoveredMs.toFixed(0)} ms`);
			t.same(await states(replica), good);
		}
	},
);
