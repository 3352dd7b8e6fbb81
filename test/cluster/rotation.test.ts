/**
 * Signing keys of three real replicas under load. The minutes that a key waits pass in the store, where its times are moved
 * back, and for the verifiers, whose clock is the test's; the reports of the replicas are real.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import t, { type Test } from "tap";
import type { Settings } from "../support/process.ts";
import { kidOf } from "../support/rings.ts";
import { progress, rounds } from "../support/rounds.ts";
import { until } from "../support/until.ts";
import { type Database, startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { needs } from "./support/packages.ts";
import { addUsers, command, type Replica, startReplicas } from "./support/replicas.ts";

/** What the key set allows, and what a key waits: 300, 30 for the clocks, 5 in which every replica hears of it. */
const maxAgeSeconds = 300;
const publishedSeconds = 335;
/** Access tokens of this test are thrown away after so long. */
const tokenSeconds = 900;

type Client = ReturnType<typeof createClient>;
const keySetOf = async (client: Client, { url }: Replica) => client.send(`${url}/.well-known/jwks.json`);
const kidsOf = async (client: Client, replica: Replica) =>
	(await keySetOf(client, replica)).json<{ keys: { kid: string }[] }>().keys.map(({ kid }) => kid);

/** Rotates so often while tokens are made and verified everywhere all the time; answers what went wrong. */
async function rotateUnderLoad(t: Test, database: Database, replicas: readonly Replica[], times: number) {
	const client = createClient();
	t.teardown(() => client.close());
	const users = await addUsers(database, 6);
	const any = <Item>(items: readonly Item[]) => items[Math.floor(Math.random() * items.length)] as Item;
	const failures: string[] = [];
	const verified = { here: 0, elsewhere: 0 };
	const tokens: { token: string; signedAt: number }[] = [];
	const firstSigned = new Map<string, number>();
	/** Seconds of the test. */
	let now = 0;
	let running = true;

	/** Another service: it keeps the key set for as long as it was told, and asks nobody before that. */
	function createVerifier() {
		let kept: { keySet: ReturnType<typeof createLocalJWKSet>; until: number } | undefined;
		return async (token: string) => {
			if (!kept || now >= kept.until) {
				const answer = await keySetOf(client, any(replicas));
				const maxAge = Number(/max-age=(\d+)/.exec(String(answer.headers["cache-control"]))?.[1]);
				kept = { keySet: createLocalJWKSet(answer.json<JSONWebKeySet>()), until: now + maxAge };
			}
			await jwtVerify(token, kept.keySet, { typ: "at+jwt", clockTolerance: 30 });
		};
	}

	const verifiers = Array.from({ length: 6 }, createVerifier);
	const workers = users.map(async (user, index) => {
		let pair = await client.login(any(replicas).url, user);
		const verify = verifiers[index] as (typeof verifiers)[0];
		for (let turn = 0; running; turn++) {
			const at = any(replicas);
			const answer = await client.send(`${at.url}/refresh`, { fields: { refresh_token: pair.refresh_token } });
			if (answer.status !== 200) failures.push(`/refresh answers ${answer.status}: ${answer.body}`);
			else pair = answer.json();
			const kid = kidOf(pair.access_token);
			if (!firstSigned.has(kid)) firstSigned.set(kid, now);
			tokens.push({ token: pair.access_token, signedAt: now });
			while ((tokens[0]?.signedAt ?? now) < now - tokenSeconds) tokens.shift();
			const asked = [pair.access_token, tokens[0]?.token ?? "", any(tokens).token];
			for (const token of asked) {
				// A verifier that asked in every turn would be less likely to have a key set from before.
				if (turn % (index + 1) === 0)
					await verify(token).then(
						() => verified.elsewhere++,
						(error: Error) => failures.push(`a verifier at ${now}: ${error.message}`),
					);
				const { status, body } = await client.send(`${any(replicas).url}/protected`, { token });
				if (status === 200) verified.here++;
				else failures.push(`/protected answers ${status} at ${now}: ${body}`);
			}
			await sleep(100);
		}
	});
	const pass = async (seconds: number) => {
		now += seconds;
		await database.query(
			"update signing_keys set created_at = created_at - $1, signs_at = signs_at - $1, ends_at = ends_at - $1",
			[seconds],
		);
	};

	for (let time = 1; time <= times; time++) {
		const made = JSON.parse((await command(t, database.url, ["key", "rotate", "--json"])).stdout) as { kid: string };
		const shown = async () =>
			(await Promise.all(replicas.map((one) => kidsOf(client, one)))).every((kids) => kids.includes(made.kid));
		const shownMs = await until("every replica shows the new key", shown, { seconds: 1, everyMs: 50 });
		const shownAt = now;
		for (const seconds of [100, 100, 100, 30]) {
			await pass(seconds);
			await sleep(500);
			if (firstSigned.has(made.kid)) failures.push(`${made.kid} signed ${now - shownAt} s after it was shown`);
		}
		await pass(publishedSeconds - 330);
		const signs = async () => firstSigned.has(made.kid);
		const signedMs = await until("the new key signs", signs, { seconds: 25, everyMs: 50 });
		const waited = (firstSigned.get(made.kid) ?? 0) - shownAt;
		t.ok(waited >= maxAgeSeconds + 30, `J05: it signs ${waited} s after every replica has shown it`);
		progress(
			`rotation ${time} of ${times}: shown after ${shownMs.toFixed(0)} ms, signs ${(signedMs / 1000).toFixed(1)} s after its time; ${verified.here} + ${verified.elsewhere} verified, ${failures.length} failed`,
		);
	}
	running = false;
	await Promise.all(workers);
	return { failures, verified, signed: firstSigned.size };
}

t.test("Z08, J05, fault 24: rotations under load fail no request, here or where the key set is kept", async (t) => {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url);
	const times = rounds(20);
	const { failures, verified, signed } = await rotateUnderLoad(t, database, replicas, times);
	t.same(failures, []);
	t.equal(signed, times + 1, "each key signed");
	t.ok(verified.here > 100 * times && verified.elsewhere > 50 * times, JSON.stringify(verified));
});

t.test("J06, fault 25: three processes that rotate at once make one key, and so do three replicas", async (t) => {
	const database = await startDatabase(t);
	await startReplicas(t, database.url);
	const count = async () => Number((await database.query("select count(*) from signing_keys"))[0]?.count);
	const drop = () => database.query("update signing_keys set state = 'gone' where state = 'published'");
	const times = rounds(50);
	for (let round = 1; round <= times; round++) {
		const before = await count();
		const commands = Array.from({ length: 3 }, () => command(t, database.url, ["key", "rotate", "--json"]));
		const made = (await Promise.all(commands)).map(
			({ stdout }) => JSON.parse(stdout) as { kid: string; made: boolean },
		);
		t.equal(await count(), before + 1, `round ${round}: one key more`);
		t.equal(made.filter((one) => one.made).length, 1);
		t.equal(new Set(made.map(({ kid }) => kid)).size, 1, "all of them name that one");
		await drop();
	}
	const before = await count();
	// Past KEY_ROTATION_DAYS: each replica finds it due.
	await database.query("update signing_keys set signs_at = signs_at - 31 * 86400 where state = 'active'");
	await until("a key is published", async () => (await count()) > before, { seconds: 15, everyMs: 50 });
	await sleep(12_000);
	t.equal(await count(), before + 1, "by themselves they made one, too");
});

/** Where Debian has it, by architecture. */
const fakeTime = "/usr/$LIB/faketime/libfaketime.so.1";
const shifted = (seconds: number): Settings => ({
	LD_PRELOAD: fakeTime,
	FAKETIME: `${seconds > 0 ? "+" : ""}${seconds}`,
	FAKETIME_DONT_FAKE_MONOTONIC: "1",
});

for (const seconds of [30, -30])
	t.test(
		`Z12, fault 16: with one replica's clock ${seconds} s off no token is refused, and a rotation goes on as ever`,
		needs("faketime"),
		async (t) => {
			const database = await startDatabase(t);
			const settings = (index: number) => (index === 1 ? shifted(seconds) : {});
			const replicas = await startReplicas(t, database.url, { settings });
			const [right, wrong] = replicas as [Replica, Replica];
			const client = createClient();
			t.teardown(() => client.close());
			const issuedAt = async (one: Replica) => {
				const { access_token } = await client.login(one.url, "root");
				return JSON.parse(Buffer.from(access_token.split(".")[1] ?? "", "base64url").toString()).iat as number;
			};
			const off = (await issuedAt(wrong)) - (await issuedAt(right));
			t.ok(Math.abs(off - seconds) <= 5, `its clock is ${off} s off`);
			const { failures, verified } = await rotateUnderLoad(t, database, replicas, 1);
			t.same(failures, []);
			t.ok(verified.here > 100, JSON.stringify(verified));
		},
	);
