/**
 * Rows F14 and F08: processes that are killed in the middle of a refresh, as by a power cut. Whoever was answered goes on
 * with the new token, whoever was not comes back with the old one, and nobody is locked out.
 */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { type RunningServer, rootAccount, startServer, type TokenPair, testSecret } from "../support/process.ts";
import { rounds } from "../support/rounds.ts";
import { openStoreLocation } from "../support/stores.ts";

/** Row F14 asks for 200, half of them on each store. */
const kills = rounds(100);
const clients = 4;
/** A kill comes up to so long after the first refresh was answered again. */
const longestMomentMs = 60;

// Most of the time goes into starts: the stores need not wait for each other.
t.jobs = 4;
t.setTimeout(120_000 + kills * 6_000);

/** Numbers from 0 to 1 that come again with the same seed (mulberry32). */
function random(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** A fresh store, and how a process over it is started. */
async function open(t: Test, kind: "sqlite" | "postgres") {
	const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
	const settings = {
		DATA_DIR: dataDir,
		DATABASE_URL: databaseUrl,
		SECRET: testSecret,
		// A restart on a busy machine can take longer than the 10 s of production.
		REFRESH_GRACE_SECONDS: "60",
		...rootAccount,
	};
	return { file: join(dataDir, "gatehouse.db"), start: () => startServer(t, settings) };
}

/** What src/sessions/refresh-token.ts writes there. */
const generationOf = (token: string): number => Buffer.from(token, "base64url").readUIntBE(17, 6);

const sessionIdOf = (token: string): string => Buffer.from(token, "base64url").subarray(1, 17).toString("base64url");

/** A client with a session of its own, and what it saw. */
interface Client {
	pair: TokenPair;
	answers: number;
	/** How often a request was sent and not answered. */
	cuts: number;
	/** What must not happen: a refusal, or another token than the successor of the one that was sent. */
	faults: string[];
}

/** Refreshes once; answers nothing where the connection ended before the answer was there. */
async function attempt(client: Client, server: RunningServer): Promise<TokenPair | undefined> {
	const { refresh_token } = client.pair;
	try {
		const answer = await server.post("/refresh", { refresh_token });
		const pair = (await answer.json()) as TokenPair;
		client.answers++;
		if (answer.status !== 200) client.faults.push(`${answer.status} ${JSON.stringify(pair)}`);
		else if (generationOf(pair.refresh_token) !== generationOf(refresh_token) + 1)
			client.faults.push(`${generationOf(pair.refresh_token)} came after ${generationOf(refresh_token)}`);
		return pair;
	} catch (error) {
		if ((error as { cause?: { code?: string } }).cause?.code !== "ECONNREFUSED") client.cuts++;
		return undefined;
	}
}

/** Two tabs bring the same token at once: the answers that come must be the same. */
async function attemptTwice(client: Client, server: RunningServer): Promise<TokenPair | undefined> {
	const answers = await Promise.all([attempt(client, server), attempt(client, server)]);
	const [one, other] = answers.filter((answer) => answer !== undefined);
	if (one && other && one.refresh_token !== other.refresh_token) client.faults.push("one token has two successors");
	return one;
}

for (const [kind, processes] of [
	["sqlite", 1],
	["postgres", 2],
] as const)
	t.test(
		`F14: ${kind}: after each of ${kills} kills -9 under load every client goes on, with its old token or the new one`,
		{ buffered: true, timeout: 110_000 + kills * 6_000 },
		async (t) => {
			const store = await open(t, kind);
			const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
			const next = random(seed);
			let ready = await Promise.all(Array.from({ length: processes }, store.start));
			let restarting: Promise<unknown> = Promise.resolve();
			let answered = Promise.withResolvers<void>();
			let turn = 0;
			const anyServer = async (): Promise<RunningServer> => {
				if (ready.length === 0) await restarting;
				return ready[turn++ % ready.length] as RunningServer;
			};

			const all = await Promise.all(
				Array.from({ length: clients }, async (): Promise<Client> => {
					const pair = await (await anyServer()).pairFor("root");
					return { pair, answers: 0, cuts: 0, faults: [] };
				}),
			);
			let over = false;
			const load = all.map(async (client) => {
				let wasAnswered = true;
				while (!over && client.faults.length === 0) {
					const server = await anyServer();
					// Who was not answered does not know what became of the request: the old token comes again.
					const pair: TokenPair | undefined = await (wasAnswered ? attempt : attemptTwice)(client, server);
					wasAnswered = pair !== undefined;
					if (pair === undefined) continue;
					client.pair = pair;
					answered.resolve();
				}
			});

			const moments: number[] = [];
			for (let count = 0; count < kills; count++) {
				answered = Promise.withResolvers();
				await Promise.race([answered.promise, Promise.all(load)]);
				const momentMs = Math.round(next() * longestMomentMs);
				moments.push(momentMs);
				await sleep(momentMs);
				const victim = ready[Math.floor(next() * ready.length)] as RunningServer;
				ready = ready.filter((server) => server !== victim);
				restarting = victim
					.kill()
					.then(store.start)
					.then((server) => ready.push(server));
				await restarting;
			}
			over = true;
			await Promise.all(load);
			const total = (what: "answers" | "cuts") => all.reduce((sum, client) => sum + client[what], 0);
			t.comment(
				`SEED=${seed}: killed ${moments.join(", ")} ms after the first answer; ` +
					`${total("answers")} refreshes answered, ${total("cuts")} cut`,
			);

			t.ok(total("cuts") > 0, "requests were under way when their process was killed");
			const sessionIds = all.map(({ pair }) => sessionIdOf(pair.refresh_token));
			for (const client of all) {
				const [server] = ready as [RunningServer];
				client.pair = (await attemptTwice(client, server)) ?? client.pair;
				t.same(client.faults, [], "nothing was refused, and every answer was the one successor of what was sent");
				const answer = await server.get("/sessions", client.pair.access_token);
				const { sessions } = (await answer.json()) as { sessions: { id: string; current: boolean }[] };
				t.same(new Set(sessions.map(({ id }) => id)), new Set(sessionIds), "every login has one session");
				t.equal(sessions.length, clients);
				t.equal(sessions.find(({ current }) => current)?.id, sessionIdOf(client.pair.refresh_token));
			}
			if (kind === "postgres") return;
			await Promise.all(ready.map(({ kill }) => kill()));
			const database = new DatabaseSync(store.file);
			t.same(database.prepare("pragma integrity_check").all(), [{ integrity_check: "ok" }]);
			database.close();
		},
	);

for (const [kind, processes] of [
	["sqlite", 1],
	["postgres", 2],
] as const)
	t.test(
		`F08: ${kind}: what was used, ended or revoked is refused after kill -9 of all and a new start`,
		{ buffered: true },
		async (t) => {
			const store = await open(t, kind);
			const before = await Promise.all(Array.from({ length: processes }, store.start));
			const [one] = before as [RunningServer];
			const successor = async ({ refresh_token }: TokenPair) =>
				(await (await one.post("/refresh", { refresh_token })).json()) as TokenPair;
			const rotated = await one.pairFor("root");
			const ended = await one.pairFor("root");
			const revoked = await one.pairFor("root");
			const third = await successor(await successor(rotated));
			t.equal((await one.post("/logout", {}, ended.access_token)).status, 204);
			t.equal((await one.post("/revoke", { token: revoked.access_token }, revoked.access_token)).status, 200);
			await Promise.all(before.map(({ kill }) => kill()));

			const after = await Promise.all(Array.from({ length: processes }, store.start));
			for (const server of after) {
				const use = async ({ access_token }: TokenPair) => (await server.get("/protected", access_token)).status;
				t.equal(await use(ended), 401, "the access token of an ended session");
				t.equal(await use(revoked), 401, "a revoked access token");
				t.equal(await statusOfRefresh(server, ended), 401, "the refresh token of an ended session");
				t.equal(await use(third), 200, "no other access token");
			}
			const [server, last = server] = after as [RunningServer];
			t.equal(await statusOfRefresh(server, revoked), 200, "nor the session whose access token was revoked");
			t.equal(await statusOfRefresh(server, rotated), 401, "a refresh token that was used twice before");
			t.equal(await statusOfRefresh(last, third), 401, "and with it, its whole session");
		},
	);

const statusOfRefresh = async (server: RunningServer, { refresh_token }: TokenPair): Promise<number> =>
	(await server.post("/refresh", { refresh_token })).status;
