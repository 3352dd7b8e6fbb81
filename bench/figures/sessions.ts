/** What a refresh costs beside the work that it cannot do without, and what many sessions and revocations cost. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { startPostgres } from "../../test/support/postgres.ts";
import { microsecondsPerRequest } from "../load.ts";
import { type Figure, interleave, overStarts, type Row, ratioRow, shown, summarize } from "../measure.ts";
import { gatehouseEnvironment, loadCpu, pinned, type Server, startServer, temporaryFolder } from "../processes.ts";

const run = promisify(execFile);
const stores = ["sqlite", "postgres"] as const;
type StoreKind = (typeof stores)[number];
const titles: Record<StoreKind, string> = { sqlite: "SQLite", postgres: "PostgreSQL" };

/** Refreshes of one round, each of another session. */
const inRound = 1000;
const fewSessions = 1000;
const manySessions = 1_000_000;
const revoked = 100_000;

/** How many sessions a store has, and how many of them are refreshed in turn. */
interface Sessions {
	count: number;
	pooled: number;
}

/** A store with sessions in it. */
interface Filled {
	/** Starts a server over it. */
	start: () => Promise<Server>;
	/** The process that has filled it: it knows the sessions, and makes their refresh tokens. */
	filler: Server;
	/** The sessions that are refreshed in turn. */
	pools: object;
}

/** Runs a measurement with a PostgreSQL beside it, in which each store has a database of its own. */
async function withStores<Result>(
	kinds: readonly StoreKind[],
	measure: (open: (kind: StoreKind, sessions: Sessions) => Promise<Filled>) => Promise<Result>,
): Promise<Result> {
	const postgres = kinds.includes("postgres") ? await startPostgres() : undefined;
	const servers: Server[] = [];
	try {
		return await measure(async (kind, sessions) => {
			const environment = {
				...gatehouseEnvironment(temporaryFolder()),
				LOG_LEVEL: "fatal",
				// Nothing may end while it is measured.
				ACCESS_TOKEN_SECONDS: "86400",
				...(postgres && kind === "postgres"
					? { DATABASE_URL: await newDatabase(postgres.url), SECRET: randomBytes(32).toString("base64url") }
					: {}),
			};
			const start = async () => {
				const server = await startServer("sessions.ts", { environment });
				servers.push(server);
				return server;
			};
			// A process of its own: what is measured has nothing on its heap that a service would not have.
			const filler = await start();
			const pools = await filler.ask<object>("addSessions", { ...sessions });
			await filler.ask("usePools", { pools });
			return { start, filler, pools };
		});
	} finally {
		for (const server of servers) await server.stop();
		await postgres?.stop();
	}
}

/** An empty database of its own on this server. */
export async function newDatabase(server: string): Promise<string> {
	const name = `bench_${randomBytes(8).toString("hex")}`;
	const client = new pg.Client({ connectionString: server });
	await client.connect();
	await client.query(`create database ${name}`);
	await client.end();
	const url = new URL(server);
	url.pathname = name;
	return url.href;
}

let folder: string | undefined;
/** Made once a run. */
const tokensFolder = (): string => {
	folder ??= temporaryFolder();
	return folder;
};

/** Microseconds of the server's CPU time that one request takes which posts one of these tokens. */
async function microsecondsPerPost(server: Server, url: string, tokens: readonly string[]): Promise<number> {
	const file = join(tokensFolder(), "tokens.txt");
	writeFileSync(file, tokens.join("\n"));
	const [command, words] = pinned(loadCpu, process.execPath, join(import.meta.dirname, "../post.ts"), url, file);
	const before = await server.ask<number>("cpuMicroseconds");
	await run(command, words);
	return ((await server.ask<number>("cpuMicroseconds")) - before) / tokens.length;
}

/** The same for `/refresh`, with the next sessions that another process, or the same, knows. */
const refreshes =
	(server: Server, by = server) =>
	async () =>
		microsecondsPerPost(server, `${server.url}/refresh`, await by.ask<string[]>("nextTokens", { count: inRound }));

const microseconds = (values: readonly number[]) => `${summarize(values).median.toFixed(0)} µs`;

const refresh: Figure = {
	name: "refresh",
	rounds: 21,
	run: (rounds, tick) =>
		withStores(stores, async (open) => {
			const anyTokens = Array.from({ length: inRound }, () => "a".repeat(71));
			const rows: Row[] = [];
			for (const kind of stores) {
				const { start, filler, pools } = await open(kind, { count: 10_000, pooled: inRound });
				await filler.stop();
				const server = await start();
				await server.ask("usePools", { pools });
				const bareUrl = await server.ask<string>("bareUrl");
				const part = (name: string) => () => server.ask<number>("partMicroseconds", { part: name, count: inRound });
				const sides = {
					refresh: refreshes(server),
					swap: part("compareAndSwap"),
					read: part("readAccount"),
					sign: part("sign"),
					route: () => microsecondsPerPost(server, `${bareUrl}/bare`, anyTokens),
					byHand: () => microsecondsPerPost(server, `${bareUrl}/by-hand`, anyTokens),
				};
				const results = await interleave(rounds, sides, tick);
				const sum = results.map(({ refresh: whole, swap, read, sign, route }) => whole / (swap + read + sign + route));
				const cost = (side: keyof typeof sides) => microseconds(results.map((result) => result[side]));
				const title = `one refresh on ${titles[kind]}, against compare-and-swap + account read + crypto.sign + bare route`;
				const addends = (["swap", "read", "sign", "route"] as const).map(cost).join(" + ");
				rows.push(ratioRow(title, sum, 1.4, `${cost("refresh")} against ${addends}`, results));
				rows.push({
					figure: `one refresh on ${titles[kind]}, against one bare route that does the same by hand`,
					measured: `${shown(summarize(results.map((result) => result.refresh / result.byHand)))} times`,
					bar: "",
					met: undefined,
					detail: `${cost("refresh")} against ${cost("byHand")}`,
					data: results,
				});
			}
			return rows;
		}),
};

const manySessionsFigure: Figure = {
	name: "many-sessions",
	rounds: 35,
	run: (rounds, tick) =>
		withStores(stores, async (open) => {
			const rows: Row[] = [];
			for (const kind of stores) {
				const withFew = await open(kind, { count: fewSessions, pooled: fewSessions / 2 });
				const withMany = await open(kind, { count: manySessions, pooled: 10 * inRound });
				const results = await overStarts(rounds, async (share) => {
					const [few, many] = [await withFew.start(), await withMany.start()];
					const sides = { few: refreshes(few, withFew.filler), many: refreshes(many, withMany.filler) };
					const measured = await interleave(share, sides, tick);
					await few.stop();
					await many.stop();
					return measured;
				});
				const ratios = results.map((result) => result.many / result.few);
				const costs = (["many", "few"] as const).map((side) => microseconds(results.map((result) => result[side])));
				const title = `a refresh on ${titles[kind]} with 1,000,000 sessions in the store, against 1,000`;
				rows.push(ratioRow(title, ratios, 1.1, costs.join(" against "), results));
				for (const { filler } of [withFew, withMany]) await filler.stop();
			}
			return rows;
		}),
};

const revocations: Figure = {
	name: "revocations",
	rounds: 21,
	run: (rounds, tick) =>
		withStores(["sqlite"], async (open) => {
			const { start, filler } = await open("sqlite", { count: 10, pooled: 1 });
			await filler.stop();
			const server = await start();
			const file = join(temporaryFolder(), "token.txt");
			writeFileSync(file, await server.ask<string>("accessToken"));
			const load = () => microsecondsPerRequest(server, { path: "/protected", tokens: { file } });
			await load();
			const before = await server.ask<number>("heapBytes");
			if ((await server.ask<number>("revoke", { count: revoked })) !== revoked)
				throw new Error("They are not in the map");
			const bytes = ((await server.ask<number>("heapBytes")) - before) / revoked;
			// One process with and without them, as two processes are never quite alike.
			const sides = {
				none: async () => {
					if ((await server.ask<number>("forget")) !== 0) throw new Error("The map is not empty");
					return load();
				},
				many: async () => {
					if ((await server.ask<number>("revoke", { count: revoked })) < revoked)
						throw new Error("The map is not full");
					return load();
				},
			};
			await server.ask("forget");
			const results = await interleave(rounds, sides, tick);
			const ratios = results.map((result) => result.many / result.none);
			const costs = (["many", "none"] as const).map((side) => summarize(results.map((result) => result[side])).median);
			const detail = `${costs.map((cost) => `${cost.toFixed(1)} µs`).join(" against ")}; ${Math.round(bytes)} bytes an entry`;
			const title = "GET /protected with 100,000 revoked sessions in the map, against none";
			return [ratioRow(title, ratios, 1.05, detail, { bytesPerEntry: bytes, rounds: results })];
		}),
};

export const sessionFigures = [refresh, manySessionsFigure, revocations];
