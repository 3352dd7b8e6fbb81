/** Whether a service with a million accounts and sessions is as fast as one with a thousand, from its start on. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { startPostgres } from "../../test/support/postgres.ts";
import { type Figure, interleave, quantile, type Row, ratioRow } from "../measure.ts";
import { gatehouseEnvironment, password, stop, temporaryFolder, username } from "../processes.ts";
import { newDatabase } from "./sessions.ts";
import { compile, type Started, untilReady } from "./start.ts";

const few = 1000;
const many = 1_000_000;
/** Of one round: different accounts, so that what is read is not in the processor's caches already. */
const inRound = 20;

type Run = (sql: string) => Promise<Record<string, unknown>[]>;
/** One value of each: what a round measures, in milliseconds. */
type Times = Record<"start" | "login" | "refresh" | "protected", number>;

/** What runs statements on the store of these settings. */
async function connect(settings: Record<string, string>): Promise<{ run: Run; close: () => unknown }> {
	if (settings.DATABASE_URL !== undefined) {
		const client = new pg.Client({ connectionString: settings.DATABASE_URL });
		await client.connect();
		return { run: async (sql) => (await client.query(sql)).rows, close: () => client.end() };
	}
	const database = new DatabaseSync(join(settings.DATA_DIR ?? "", "gatehouse.db"));
	return { run: async (sql) => database.prepare(sql).all(), close: () => database.close() };
}

/** Copies the account of the settings, with its role and its session, so many times. */
async function fill(settings: Record<string, string>, count: number): Promise<void> {
	const { run, close } = await connect(settings);
	const isPostgres = settings.DATABASE_URL !== undefined;
	const numbers = isPostgres
		? `(select n from generate_series(1, ${count}) as s (n))`
		: `(with recursive s (n) as (values (1) union all select n + 1 from s where n < ${count}) select n from s)`;
	for (const [table, replaced] of [
		["users", { id: "'user-' || n", username: "'user' || n" }],
		["user_roles", { user_id: "'user-' || n" }],
		["sessions", { id: "'session-' || n", user_id: "'user-' || n", rowid: "random() & 281474976710655" }],
	] as const) {
		const [row] = await run(`select * from ${table} limit 1`);
		if (!row) throw new Error(`nothing in ${table}`);
		// On SQLite sessions lie at places made of their ids, which are random.
		if (table === "sessions" && !isPostgres) row.rowid = 0;
		const values = Object.keys(row).map((column) => (replaced as Record<string, string>)[column] ?? `one.${column}`);
		const one = `(select * from ${table} limit 1) as one`;
		await run(`insert into ${table} (${Object.keys(row)}) select ${values} from ${numbers} as numbers, ${one}`);
	}
	await run(isPostgres ? "vacuum analyze" : "pragma wal_checkpoint(truncate)");
	await close();
}

async function post(
	url: string,
	fields: Record<string, string>,
): Promise<Record<"access_token" | "refresh_token", string>> {
	const answer = await fetch(url, { method: "POST", body: new URLSearchParams(fields) });
	if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
	return (await answer.json()) as Record<"access_token" | "refresh_token", string>;
}

const median = (values: readonly number[]) => quantile(values, 0.5);

/** Starts the service, and has different accounts log in, refresh and ask, one after the other. */
async function measure(start: () => Promise<Started>, count: number): Promise<Times> {
	const { child, milliseconds, url } = await start();
	const took: Record<"login" | "refresh" | "protected", number[]> = { login: [], refresh: [], protected: [] };
	const timed = async <Result>(what: keyof typeof took, work: () => Promise<Result>): Promise<Result> => {
		const begin = performance.now();
		const result = await work();
		took[what].push(performance.now() - begin);
		return result;
	};
	const turn = async () => {
		const name = `user${1 + Math.floor(Math.random() * count)}`;
		const pair = await timed("login", () => post(`${url}/login`, { username: name, password }));
		const next = await timed("refresh", () => post(`${url}/refresh`, { refresh_token: pair.refresh_token }));
		await timed("protected", async () => {
			const headers = { authorization: `Bearer ${next.access_token}` };
			const answer = await fetch(`${url}/protected`, { headers });
			if (!answer.ok) throw new Error(await answer.text());
			await answer.text();
		});
	};
	try {
		for (let count = 0; count < inRound; count++) await turn();
	} finally {
		await stop(child);
	}
	return {
		start: milliseconds,
		login: median(took.login),
		refresh: median(took.refresh),
		protected: median(took.protected),
	};
}

/** Makes a store with so many accounts; answers what starts the service on it. */
async function prepare(main: string, settings: Record<string, string>, count: number): Promise<() => Promise<Started>> {
	const start = () => untilReady(main, "/readyz", settings);
	const { child, url } = await start();
	try {
		await post(`${url}/login`, { username, password });
	} finally {
		await stop(child);
	}
	await fill(settings, count);
	return start;
}

export const manyUsers: Figure = {
	name: "many-users",
	rounds: 15,
	async run(rounds, tick) {
		const main = join(await compile(), "dist/src/main.js");
		const postgres = await startPostgres();
		const rows: Row[] = [];
		try {
			for (const store of ["SQLite", "PostgreSQL"] as const) {
				const settings = async (): Promise<Record<string, string>> => ({
					...gatehouseEnvironment(temporaryFolder()),
					NODE_COMPILE_CACHE: join(main, "../../../compile-cache"),
					// The least there is: what a login costs besides should not be hidden.
					HASH_COST: "10",
					...(store === "PostgreSQL"
						? { DATABASE_URL: await newDatabase(postgres.url), SECRET: randomBytes(32).toString("base64url") }
						: {}),
				});
				const withFew = await prepare(main, await settings(), few);
				const withMany = await prepare(main, await settings(), many);
				const sides = { few: () => measure(withFew, few), many: () => measure(withMany, many) };
				const results = await interleave(rounds, sides, tick);
				for (const what of ["start", "login", "refresh", "protected"] as const) {
					const ratios = results.map((result) => result.many[what] / result.few[what]);
					const [a, b] = (["many", "few"] as const).map((side) => median(results.map((result) => result[side][what])));
					const title = `${titles[what]} on ${store}, with 1,000,000 accounts and sessions against 1,000`;
					rows.push(ratioRow(title, ratios, 1.2, `${a?.toFixed(1)} ms against ${b?.toFixed(1)} ms`, ratios));
				}
			}
		} finally {
			await postgres.stop();
		}
		return rows;
	},
};

const titles: Record<keyof Times, string> = {
	start: "start to ready",
	login: "a login",
	refresh: "a refresh",
	protected: "/protected, first sight",
};
