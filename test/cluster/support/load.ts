/**
 * Load as users make it: requests at fixed times, whatever becomes of the ones before (open loop), over keep-alive
 * connections; mostly GET /protected, some refreshes, few logins. Every outcome is counted.
 */
import { Agent, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Owner, rootAccount, type TokenPair } from "../../support/process.ts";

export type Kind = "protected" | "refresh" | "login";

/** One request and what became of it. */
export interface Sample {
	kind: Kind;
	/** The status, or the code of what broke the connection. */
	outcome: number | string;
	milliseconds: number;
	/** When it was sent, in milliseconds since the load began. */
	atMs: number;
}

/** An answer, read to its end. */
export interface Answer {
	status: number;
	headers: NodeJS.Dict<string | string[]>;
	body: string;
	json<Body>(): Body;
}

/** How many of each kind are sent of a hundred. */
export type Mix = Record<Kind, number>;
const usualMix: Mix = { protected: 80, refresh: 18, login: 2 };

/** A client with connections of its own. */
export function createClient() {
	const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

	/** Sends fields as a form, or nothing as a GET. Rejects where the connection breaks, or after `patienceMs`. */
	function send(url: string, { token, fields, headers, patienceMs = 15_000 }: Sending = {}): Promise<Answer> {
		const { promise, resolve, reject } = Promise.withResolvers<Answer>();
		const body = fields === undefined ? undefined : new URLSearchParams(fields).toString();
		const sent = httpRequest(
			url,
			{
				agent,
				method: body === undefined ? "GET" : "POST",
				timeout: patienceMs,
				headers: {
					...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
					...(body === undefined
						? {}
						: { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) }),
					...headers,
				},
			},
			(answer) => {
				let text = "";
				answer.setEncoding("utf8").on("data", (part: string) => {
					text += part;
				});
				answer.on("error", reject);
				answer.on("end", () =>
					resolve({
						status: answer.statusCode ?? 0,
						headers: answer.headers,
						body: text,
						json: <Body>() => JSON.parse(text) as Body,
					}),
				);
			},
		);
		sent.on("error", reject);
		sent.on("timeout", () => sent.destroy(Object.assign(new Error("no answer in time"), { code: "NO_ANSWER" })));
		sent.end(body);
		return promise;
	}

	return {
		send,
		async login(url: string, username: string, password = rootAccount.BOOTSTRAP_PASSWORD): Promise<TokenPair> {
			const answer = await send(`${url}/login`, { fields: { username, password } });
			if (answer.status !== 200) throw new Error(`${username} cannot log in: ${answer.body}`);
			return answer.json<TokenPair>();
		},
		close: () => agent.destroy(),
	};
}

export interface Sending {
	token?: string;
	fields?: Record<string, string>;
	headers?: Record<string, string>;
	patienceMs?: number;
}

/** What broke, in one word. */
export const broke = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

export type Load = Awaited<ReturnType<typeof startLoad>>;

/** Logs `sessions` users in, then sends until `stop`, or until its owner ends. */
export async function startLoad(
	owner: Owner,
	url: string,
	usernames: readonly string[],
	{ perSecond = 200, sessions = 40, mix = usualMix }: { perSecond?: number; sessions?: number; mix?: Mix } = {},
) {
	const client = createClient();
	const users: { name: string; pair: TokenPair; busy: boolean }[] = [];
	for (let index = 0; index < sessions; index++) {
		const name = usernames[index % usernames.length] ?? "";
		users.push({ name, pair: await client.login(url, name), busy: false });
	}
	const samples: Sample[] = [];
	const pending = new Set<Promise<void>>();
	const kinds = shuffled(mix);
	const begin = performance.now();
	let running = true;

	async function one(turn: number): Promise<void> {
		const user = users[turn % users.length];
		if (!user) return;
		// A refresh token is good for one step: no two at once with the same.
		const wanted = kinds[turn % kinds.length] ?? "protected";
		const kind = wanted === "refresh" && user.busy ? "protected" : wanted;
		const atMs = performance.now() - begin;
		let outcome: number | string;
		try {
			outcome = await sendOne(kind, user);
		} catch (error) {
			outcome = broke(error);
		}
		samples.push({ kind, outcome, atMs, milliseconds: performance.now() - begin - atMs });
	}

	async function sendOne(kind: Kind, user: (typeof users)[number]): Promise<number> {
		if (kind === "protected") return (await client.send(`${url}/protected`, { token: user.pair.access_token })).status;
		if (kind === "login") {
			const fields = { username: user.name, password: rootAccount.BOOTSTRAP_PASSWORD };
			return (await client.send(`${url}/login`, { fields })).status;
		}
		user.busy = true;
		try {
			const fields = { refresh_token: user.pair.refresh_token };
			const answer = await client.send(`${url}/refresh`, { fields });
			if (answer.status === 200) user.pair = answer.json<TokenPair>();
			return answer.status;
		} finally {
			user.busy = false;
		}
	}

	const sending = (async () => {
		for (let turn = 0; running; turn++) {
			const waitMs = begin + (turn * 1000) / perSecond - performance.now();
			if (waitMs > 0) await sleep(waitMs);
			const sent = one(turn).finally(() => pending.delete(sent));
			pending.add(sent);
		}
	})();

	owner.teardown(() => {
		running = false;
		client.close();
	});
	return {
		samples,
		/** The time of its samples, now. */
		nowMs: () => performance.now() - begin,
		/** Sends no more, waits for the answers that are still to come. */
		async stop(): Promise<readonly Sample[]> {
			running = false;
			await sending;
			await Promise.all(pending);
			client.close();
			return samples;
		},
	};
}

/** A hundred kinds in an order that mixes them, the same each time. */
function shuffled(mix: Mix): Kind[] {
	const kinds = (Object.keys(mix) as Kind[]).flatMap((kind) => Array.from({ length: mix[kind] }, () => kind));
	// 37 has no factor in common with 100: every place is taken once.
	return kinds.map((_, index) => kinds[(index * 37) % kinds.length] as Kind);
}

/** The latency below which this share of the samples lies. */
export function quantile(samples: readonly Pick<Sample, "milliseconds">[], share: number): number {
	const sorted = samples.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** `protected 200: 1234, p50 1 ms, p99 4 ms, max 12 ms`, one line each kind and outcome. */
export function summary(samples: readonly Sample[]): string {
	const groups = Map.groupBy(samples, ({ kind, outcome }) => `${kind} ${outcome}`);
	const show = (of: readonly Sample[], share: number) => `${quantile(of, share).toFixed(0)} ms`;
	return [...groups]
		.sort(([a], [b]) => a.localeCompare(b))
		.map(([name, of]) => `${name}: ${of.length}, p50 ${show(of, 0.5)}, p99 ${show(of, 0.99)}, max ${show(of, 1)}`)
		.join("; ");
}

/** What did not end as it should. */
export const failures = (samples: readonly Sample[]): Sample[] => samples.filter(({ outcome }) => outcome !== 200);
