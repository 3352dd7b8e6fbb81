/** A backup from before is restored: nothing that was revoked since comes back. Row V10, fault 33. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { TokenPair } from "../support/process.ts";
import { copyOf } from "./support/copy.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { addUsers, command, startReplicas } from "./support/replicas.ts";

t.test(
	"V10, fault 33: after a restore one command refuses what the backup has forgotten, on every replica, for good",
	async (t) => {
		const database = await startDatabase(t);
		const replicas = await startReplicas(t, database.url, { count: 2, settings: { DRAIN_SECONDS: "0" } });
		const [name = ""] = await addUsers(database, 1);
		const client = createClient();
		t.teardown(client.close);
		const url = replicas[0]?.url ?? "";
		const use = async (at: string, { access_token: token }: TokenPair) =>
			(await client.send(`${at}/protected`, { token })).status;
		const refresh = (at: string, { refresh_token }: TokenPair) =>
			client.send(`${at}/refresh`, { fields: { refresh_token } });

		const stolen = await client.login(url, name);
		const kept = await client.login(url, name);
		const backup = await copyOf(t, database);
		t.equal((await client.send(`${url}/logout`, { token: stolen.access_token, fields: {} })).status, 204);
		t.equal(await use(url, stolen), 401);
		const unknown = await client.login(url, name);
		await Promise.all(replicas.map((replica) => replica.end()));
		await database.stop();

		const restored = await startDatabase(t, { folder: backup });
		const settings = { DATABASE_URL: restored.url };
		const again = async () => {
			for (const replica of replicas) await replica.start(settings);
		};
		await again();
		t.equal(await use(url, stolen), 200, "the store has forgotten it: that is what the command is for");
		const answer = await command(t, restored.url, ["revoke", "--issued-before", "now", "--json"]);
		t.match(JSON.parse(answer.stdout), { sessions: 2 });
		for (const replica of replicas) {
			for (const pair of [stolen, kept, unknown]) {
				t.equal(await use(replica.url, pair), 401);
				t.equal((await refresh(replica.url, pair)).status, 401);
			}
		}
		const fresh = await client.login(url, name);
		for (const replica of replicas) t.equal(await use(replica.url, fresh), 200, "who logs in again is in");
		await Promise.all(replicas.map((replica) => replica.kill()));
		await again();
		await sleep(100);
		for (const replica of replicas) {
			for (const pair of [stolen, kept, unknown]) t.equal(await use(replica.url, pair), 401, "also after a restart");
			t.equal(await use(replica.url, fresh), 200);
		}
		t.equal((await refresh(url, fresh)).status, 200);
	},
);
