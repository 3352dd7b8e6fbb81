/** What clients see while the database is away, and how soon they are well again: the same promises, whatever the cause. */
import type { Test } from "tap";
import { rootAccount, type TokenPair } from "../../support/process.ts";
import { progress } from "../../support/rounds.ts";
import { until } from "../../support/until.ts";
import { broke, createClient, quantile } from "./load.ts";

/** A write, or anything that needs the store, is answered within this. */
const refusalMs = 2000;
/** From when on a replica must know that its store is away: a poll that runs into its time-out, and the next one. */
const noticedMs = 4000;

interface Seen {
	what: string;
	outcome: number | string;
	milliseconds: number;
	atMs: number;
	retryAfter: string | undefined;
	body: string;
}

/** Asks every kind of thing, four times a second, for `seconds`; each question may take as long as it takes. */
export async function watch(url: string, username: string, pair: TokenPair, seconds: number): Promise<Seen[]> {
	const client = createClient();
	const password = rootAccount.BOOTSTRAP_PASSWORD;
	const questions: [what: string, () => ReturnType<typeof client.send>][] = [
		["GET /protected", () => client.send(`${url}/protected`, { token: pair.access_token })],
		["GET /livez", () => client.send(`${url}/livez`)],
		["GET /readyz", () => client.send(`${url}/readyz`)],
		["GET /.well-known/jwks.json", () => client.send(`${url}/.well-known/jwks.json`)],
		["POST /login", () => client.send(`${url}/login`, { fields: { username, password } })],
		["POST /refresh", () => client.send(`${url}/refresh`, { fields: { refresh_token: pair.refresh_token } })],
		["POST /logout", () => client.send(`${url}/logout`, { token: pair.access_token, fields: {} })],
	];
	const seen: Seen[] = [];
	const pending: Promise<void>[] = [];
	const begin = performance.now();
	const ask = async (what: string, question: () => ReturnType<typeof client.send>) => {
		const atMs = performance.now() - begin;
		const answer = await question().catch(broke);
		const outcome = typeof answer === "string" ? answer : answer.status;
		const retryAfter = typeof answer === "string" ? undefined : (answer.headers["retry-after"] as string | undefined);
		const body = typeof answer === "string" ? "" : answer.body;
		seen.push({ what, outcome, atMs, milliseconds: performance.now() - begin - atMs, retryAfter, body });
	};
	const { promise, resolve } = Promise.withResolvers<void>();
	const timer = setInterval(() => {
		if (performance.now() - begin > seconds * 1000) {
			clearInterval(timer);
			return resolve();
		}
		for (const [what, question] of questions) pending.push(ask(what, question));
	}, 250);
	await promise;
	await Promise.all(pending);
	client.close();
	return seen;
}

/** Checks the promises of the table "Decisions taken" for a store that cannot be reached. */
export function keepsItsPromises(t: Test, seen: readonly Seen[]): void {
	for (const [what, all] of Map.groupBy(seen, (one) => one.what)) {
		const slowest = Math.max(...all.map(({ milliseconds }) => milliseconds));
		const outcomes = [...Map.groupBy(all, ({ outcome }) => outcome)].map(
			([outcome, of]) => `${of.length} x ${outcome}`,
		);
		const median = quantile(all, 0.5).toFixed(0);
		progress(`${what}: ${outcomes.join(", ")}, median ${median} ms, slowest ${slowest.toFixed(0)} ms`);
		const wanted = what.startsWith("GET") ? 200 : 503;
		t.same(
			all.filter(({ outcome }) => outcome !== wanted),
			[],
			`${what} is ${wanted}, each time`,
		);
		if (wanted === 503) {
			t.ok(
				all.every(({ retryAfter }) => Number(retryAfter) > 0),
				`${what} says when to try again`,
			);
			t.ok(slowest <= refusalMs, `${what} is refused within 2 s: ${slowest.toFixed(0)} ms`);
		} else t.ok(slowest < 1000, `${what} goes on as ever: ${slowest.toFixed(0)} ms at most`);
	}
	const late = seen.filter(({ what, atMs }) => what === "GET /readyz" && atMs > noticedMs);
	t.ok(late.length > 0, "it was watched for long enough");
	t.same([...new Set(late.map(({ body }) => body))], ['{"status":"degraded","store":"down"}'], "readiness says so");
}

/** Milliseconds until the first login that works. */
export async function untilLogin(url: string, username: string): Promise<number> {
	const client = createClient();
	const fields = { username, password: rootAccount.BOOTSTRAP_PASSWORD };
	try {
		return await until(
			"a login works",
			async () => (await client.send(`${url}/login`, { fields }).catch(() => undefined))?.status === 200,
			{ seconds: 30 },
		);
	} finally {
		client.close();
	}
}
