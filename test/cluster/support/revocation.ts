/** How long a revocation takes from one replica to the others, as a client sees it. Benchmarks measure by it, too. */
import { setTimeout as sleep } from "node:timers/promises";
import type { createClient } from "./load.ts";

type Client = Pick<ReturnType<typeof createClient>, "send" | "login">;
type At = { readonly url: string };

/** A longer one is no delay, but a revocation that does not come. */
const givenUpMs = 20_000;
const pollMs = 10;

/** Milliseconds from `POST /logout` at one replica until every other one has refused the session's access token. */
export async function revocationMs(client: Client, from: At, others: readonly At[], token: string): Promise<number> {
	for (const { url } of others) {
		const { status } = await client.send(`${url}/protected`, { token });
		if (status !== 200) throw new Error(`A good token is answered ${status} at ${url}`);
	}
	const begin = performance.now();
	const loggedOut = client.send(`${from.url}/logout`, { token, fields: {} });
	const refusedMs = await Promise.all(
		others.map(async ({ url }) => {
			for (;;) {
				const asked = performance.now();
				const { status } = await client.send(`${url}/protected`, { token });
				if (status === 401) return performance.now() - begin;
				if (status !== 200) throw new Error(`${url} answers ${status}`);
				if (asked - begin > givenUpMs) throw new Error(`${url} still accepts the token after ${givenUpMs} ms`);
				await sleep(Math.max(0, pollMs - (performance.now() - asked)));
			}
		}),
	);
	const { status } = await loggedOut;
	if (status !== 204) throw new Error(`The logout is answered ${status}`);
	return Math.max(...refusedMs);
}

/**
 * That many revocations, one after another in each of `lanes`, with idle times between them, so that they meet every phase of
 * the polling.
 */
export async function measureRevocations(
	client: Client,
	[from, ...others]: readonly At[],
	count: number,
	{ username = "root", idleMs = 500, lanes = 1, tick = () => {} }: Partial<Measurement> = {},
): Promise<number[]> {
	if (!from) throw new Error("There is no replica");
	const results: number[] = [];
	let left = count;
	const lane = async () => {
		while (left-- > 0) {
			const { access_token } = await client.login(from.url, username);
			await sleep(Math.random() * idleMs);
			results.push(await revocationMs(client, from, others, access_token));
			tick();
		}
	};
	await Promise.all(Array.from({ length: lanes }, lane));
	return results;
}

export interface Measurement {
	username: string;
	idleMs: number;
	lanes: number;
	tick: () => void;
}
