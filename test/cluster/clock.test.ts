/** Clocks that are wrong: half a minute is forgiven, ten minutes have the effect that docs/operations.md states. */
import { globSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { full, progress } from "../support/rounds.ts";
import { startBalancer } from "./support/balancer.ts";
import { startDatabase } from "./support/database.ts";
import { createClient, failures, startLoad, summary } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { addUsers, startReplicas } from "./support/replicas.ts";

/** The environment of a process whose clock is off by so many seconds; what it measures with is not. */
const clockOff = (seconds: number) => ({
	LD_PRELOAD: globSync("/usr/lib/*/faketime/libfaketime.so.1")[0],
	FAKETIME: `${seconds < 0 ? "" : "+"}${seconds}s`,
	FAKETIME_DONT_FAKE_MONOTONIC: "1",
});

/** Two replicas, one of them with a clock that is off by so many seconds, and a login at each. */
async function startTwo(t: Test, seconds: number) {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url, {
		count: 2,
		settings: (index) => (index === 0 ? clockOff(seconds) : {}),
	});
	const [{ url: off }, { url: right }] = replicas as [(typeof replicas)[0], (typeof replicas)[0]];
	const client = createClient();
	t.teardown(client.close);
	return {
		off,
		right,
		ofOff: await client.login(off, "root"),
		ofRight: await client.login(right, "root"),
		status: async (url: string, token: string) => (await client.send(`${url}/protected`, { token })).status,
		refresh: async (url: string, token: string) =>
			(await client.send(`${url}/refresh`, { fields: { refresh_token: token } })).status,
	};
}

t.test(
	"Z12, fault 16: a replica whose clock is 30 s fast, or slow, causes no refusal",
	needs("haproxy", "faketime"),
	async (t) => {
		for (const seconds of [30, -30]) {
			const database = await startDatabase(t);
			const replicas = await startReplicas(t, database.url, {
				settings: (index) => (index === 0 ? clockOff(seconds) : {}),
			});
			const ports = replicas.map(({ port }) => port);
			const { url } = await startBalancer(t, ports);
			const client = createClient();
			t.teardown(client.close);
			const date = (await client.send(`${replicas[0]?.url}/livez`)).headers.date as string;
			t.ok(
				Math.abs(Date.parse(date) - Date.now() - seconds * 1000) < 2000,
				`its clock is off by ${seconds} s: ${date}`,
			);
			const load = await startLoad(t, url, await addUsers(database, 10), { perSecond: 100 });
			await sleep(full ? 60_000 : 8_000);
			const samples = await load.stop();
			progress(`${seconds} s: ${summary(samples)}`);
			t.same(failures(samples), [], "every request succeeds, whichever replica made the token");
			await Promise.all(replicas.map((replica) => replica.kill()));
			await database.stop();
		}
	},
);

t.test(
	"Z12: a clock that is ten minutes off: tokens from the future are refused, those of the past serve, refreshing works",
	needs("faketime"),
	async (t) => {
		const { off: fast, right, ofOff: ofFast, ofRight, status, refresh } = await startTwo(t, 600);
		t.equal(await status(fast, ofFast.access_token), 200, "its own tokens serve on the fast one");
		t.equal(await status(right, ofFast.access_token), 401, "they are of the future on the right one");
		t.equal(
			await status(fast, ofRight.access_token),
			200,
			"the right one's tokens serve on the fast one, for ten minutes less",
		);
		t.equal(
			await refresh(right, ofFast.refresh_token),
			200,
			"sessions are the store's: by its clock, on every replica",
		);
		t.equal(await refresh(fast, ofRight.refresh_token), 200);
	},
);

t.test(
	"Z12: a clock that is ten minutes slow: its tokens end early, those of the others are of the future to it",
	needs("faketime"),
	async (t) => {
		const { off: slow, right, ofOff: ofSlow, ofRight, status, refresh } = await startTwo(t, -600);
		t.equal(await status(slow, ofSlow.access_token), 200, "its own tokens serve on the slow one");
		t.equal(await status(right, ofSlow.access_token), 200, "and on the right one, for ten minutes less");
		t.equal(await status(slow, ofRight.access_token), 401, "the right one's are of the future there");
		for (const [url, pair] of [
			[right, ofSlow],
			[slow, ofRight],
		] as const)
			t.equal(await refresh(url, pair.refresh_token), 200, "sessions are the store's: by its clock, on every replica");
	},
);
