/** Gatehouse with as many sessions as one likes, and the parts of a refresh by hand beside it. */
import { createPrivateKey, randomBytes, randomInt, sign } from "node:crypto";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import formbody from "@fastify/formbody";
import Fastify from "fastify";
import { sql } from "kysely";
import pg from "pg";
import { buildApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config/config.ts";
import { createLog } from "../../src/log.ts";
import { openServices } from "../../src/services.ts";
import { placeOf } from "../../src/sessions/place.ts";
import { openDatabase } from "../../src/store/sqlite-file.ts";
import { concurrency, username } from "../processes.ts";
import { beginSession } from "./begin-session.ts";
import { answerQuestions } from "./questions.ts";

const { config } = loadConfig(process.env);
let aheadSeconds = 0;
const clock = { now: () => Math.floor(Date.now() / 1000) + aheadSeconds };
const services = await openServices(config, { log: createLog(config.logLevel, false), clock });
const app = await buildApp(services);
const { store, refresh, revocations, keys } = services;
const { id: userId } = await services.users.getByName(username);
await app.listen({ host: config.host, port: config.port });

/** Sessions that are refreshed in turn, and how often each has been. */
interface Pool {
	ids: string[];
	generations: number[];
	next: number;
}
/** One for the service and one for the bare statement, out of the same table and alike in number. */
const pools: Record<"service" | "bare", Pool> = {
	service: { ids: [], generations: [], next: 0 },
	bare: { ids: [], generations: [], next: 0 },
};
const inOneStatement = 10_000;
const daySeconds = 86_400;

/** People come back in an order that has nothing to do with the order in which their rows were written. */
function shuffle(ids: string[]): void {
	for (let last = ids.length - 1; last > 0; last--) {
		const other = randomInt(last + 1);
		[ids[last], ids[other]] = [ids[other] as string, ids[last] as string];
	}
}

/** The next sessions of a pool at the generation they have now; whoever asks advances each of them once. */
function take(pool: Pool, count: number): { id: string; generation: number }[] {
	return Array.from({ length: count }, () => {
		const index = pool.next++ % pool.ids.length;
		const generation = pool.generations[index] as number;
		pool.generations[index] = generation + 1;
		return { id: pool.ids[index] as string, generation };
	});
}

/** A connection of the same driver, with the same settings and nothing over it. */
async function openBare(): Promise<
	(text: string, values: (string | number)[]) => Promise<{ rows: unknown[]; count: number }>
> {
	if (config.databaseUrl !== undefined) {
		const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 10 });
		return async (text, values) => {
			const { rows, rowCount } = await pool.query(text, values);
			return { rows, count: rowCount ?? 0 };
		};
	}
	const database = await openDatabase(config.dataDir, join(config.dataDir, "gatehouse.db"), 1000);
	const prepared = new Map<string, ReturnType<typeof database.prepare>>();
	return async (text, values) => {
		const statement = prepared.get(text) ?? database.prepare(text);
		prepared.set(text, statement);
		if (text.startsWith("select")) return { rows: statement.all(...values), count: 0 };
		return { rows: [], count: Number(statement.run(...values).changes) };
	};
}
const query = await openBare();
/** The driver's own placeholders. */
const numbered = (text: string): string => {
	let count = 0;
	return config.databaseUrl === undefined ? text : text.replaceAll("?", () => `$${++count}`);
};
const compareAndSwap = numbered(
	"update sessions set generation = ?, refreshed_at = ?, expires_at = ?, access_until = ? where id = ? and generation = ?",
);
const readAccount = numbered(
	"select users.id, username, disabled_at, user_roles.role, permission from users" +
		" left join user_roles on user_id = users.id left join role_permissions on role_permissions.role = user_roles.role" +
		" where users.id = ?",
);
const signingKey = { key: createPrivateKey(keys.signing().privatePem), dsaEncoding: "ieee-p1363" as const };
/** As long as what is signed for an access token of this account. */
const signingInput = Buffer.alloc(600, "a");

const parts = {
	async compareAndSwap({ id, generation }: { id: string; generation: number }): Promise<void> {
		const now = clock.now();
		const values = [generation + 1, now, now + 30 * daySeconds, now + config.accessTokenSeconds, id, generation];
		const { count } = await query(compareAndSwap, values);
		if (count !== 1) throw new Error("A session was not at its generation");
	},
	async readAccount(): Promise<void> {
		const { rows } = await query(readAccount, [userId]);
		if (rows.length === 0) throw new Error("The account is gone");
	},
	async sign(): Promise<void> {
		sign("sha256", signingInput, signingKey);
	},
};

/** As long as the answer of `/refresh`. */
const answer = { access_token: "a".repeat(727), token_type: "Bearer", expires_in: 900, refresh_token: "a".repeat(71) };
const properties = {
	access_token: { type: "string" },
	token_type: { type: "string" },
	expires_in: { type: "integer" },
	refresh_token: { type: "string" },
};
const schema = {
	body: { type: "object", properties: { refresh_token: { type: "string" } }, required: ["refresh_token"] },
	response: { 200: { type: "object", properties, required: Object.keys(properties), additionalProperties: false } },
};

/** Bare Fastify, which takes the same form: a route that does nothing, and one that does the parts by hand. */
const bare = Fastify();
await bare.register(formbody);
bare.post("/bare", { schema, handler: async () => ({ ...answer }) });
bare.post("/by-hand", {
	schema,
	handler: async () => {
		await parts.readAccount();
		for (const named of take(pools.bare, 1)) await parts.compareAndSwap(named);
		await parts.sign();
		return { ...answer };
	},
});
await bare.listen({ host: "127.0.0.1", port: 0 });
const urlOf = ({ server }: Pick<typeof bare, "server">) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

answerQuestions(urlOf(app), {
	bareUrl: () => urlOf(bare),

	/** Adds sessions by bulk inserts, and answers pools that are spread over them evenly, in any order. */
	async addSessions({ count, pooled }: { count: number; pooled: number }) {
		const ids: Record<keyof typeof pools, string[]> = { service: [], bare: [] };
		const now = clock.now();
		for (let done = 0; done < count; done += inOneStatement) {
			const added = Array.from({ length: Math.min(inOneStatement, count - done) }, () =>
				randomBytes(16).toString("base64url"),
			);
			const isSqlite = store.kind === "sqlite";
			// On SQLite at the places where logins put them.
			const placed = JSON.stringify(added.map((id) => [placeOf(id), id]));
			const rows = isSqlite
				? sql`(select value ->> 0 as place, value ->> 1 as id from json_each(${placed}))`
				: sql`unnest(${added}::text[]) as ids (id)`;
			// They end at different times, as those of real logins do.
			const ends = isSqlite
				? sql`${now + 20 * daySeconds} + abs(random() % ${10 * daySeconds})`
				: sql`${now + 20 * daySeconds}::bigint + floor(random() * ${10 * daySeconds}::int)::bigint`;
			await sql`insert into sessions (${sql.raw(isSqlite ? "rowid, " : "")}id, user_id, generation, user_agent, address,
					created_at, authenticated_at, refreshed_at, expires_at, absolute_expires_at, access_until, purge_at)
				select ${sql.raw(isSqlite ? "place, " : "")}id, ${userId}, 0, 'bench', '127.0.0.1',
					${now}, ${now}, ${now}, ${ends}, ${now + 90 * daySeconds}, ${now}, ${ends}
				from ${rows}`.execute(store.db);
			for (const [index, id] of added.entries())
				if ((done + index) % Math.floor(count / (2 * pooled)) === 0)
					(ids.service.length > ids.bare.length ? ids.bare : ids.service).push(id);
		}
		// What the server does in its own time, done before anything is measured.
		await sql
			.raw(store.kind === "sqlite" ? "pragma wal_checkpoint(truncate)" : "vacuum analyze sessions")
			.execute(store.db);
		for (const pool of Object.values(ids)) shuffle(pool);
		return ids;
	},

	/** Takes over the pools that another process has answered, at the place where the last process left them. */
	async usePools(given: { pools: Record<keyof typeof pools, string[]> }) {
		for (const [name, ids] of Object.entries(given.pools)) {
			const rows = await store.db.selectFrom("sessions").select(["id", "generation"]).where("id", "in", ids).execute();
			const generationOf = new Map(rows.map(({ id, generation }) => [id, generation]));
			const generations = ids.map((id) => {
				const generation = generationOf.get(id);
				if (generation === undefined) throw new Error("A session of the pool is gone");
				return generation;
			});
			const taken = generations.reduce((sum, generation) => sum + generation, 0);
			pools[name as keyof typeof pools] = { ids, generations, next: taken };
		}
	},

	/** Refresh tokens of different sessions, each good for one refresh. */
	nextTokens: ({ count }: { count: number }) =>
		take(pools.service, count).map((named) => refresh.tokenOf(named as Parameters<typeof refresh.tokenOf>[0])),

	/** CPU microseconds of one part, done as often and as many at once as the requests are. */
	async partMicroseconds({ part, count }: { part: keyof typeof parts; count: number }) {
		const named = part === "compareAndSwap" ? take(pools.bare, count) : Array.from({ length: count }, () => undefined);
		const before = process.cpuUsage();
		const worker = async () => {
			while (named.length > 0) await parts[part](named.pop() as { id: string; generation: number });
		};
		await Promise.all(Array.from({ length: concurrency }, worker));
		const { user, system } = process.cpuUsage(before);
		return (user + system) / count;
	},

	/** An access token that is not revoked. */
	async accessToken() {
		const user = await services.users.getByName(username);
		const session = await beginSession(services, userId);
		return app.signAccessToken(services.tokens.claimsFor(user, session, { fresh: true }));
	},

	/** Puts this many sessions into the map of revocations, the way another process's come. */
	async revoke({ count }: { count: number }) {
		const endsAt = clock.now() + daySeconds;
		await store.transaction(async (transaction) => {
			const seq = await store.announce(transaction, "revocations");
			await sql`with recursive counted (n) as (select 1 union all select n + 1 from counted where n < ${count})
				insert into revocations select lower(hex(randomblob(11))), ${endsAt}, ${seq} from counted`.execute(transaction);
		});
		await revocations.load((await store.news()).revocations.version, false);
		globalThis.gc?.();
		return revocations.size();
	},

	/** Takes them out again: their time is over. */
	async forget() {
		aheadSeconds = 2 * daySeconds;
		await revocations.forget();
		aheadSeconds = 0;
		await sql`delete from revocations`.execute(store.db);
		globalThis.gc?.();
		return revocations.size();
	},
});
