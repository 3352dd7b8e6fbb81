/** `/livez` and `/readyz`, and what goes on while the store is away (decisions "Store unreachable" and "Readiness"). */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import t, { type Test } from "tap";
import { form, goodPassword, type TestApp, testApp } from "../support/app.ts";
import { onEachStore, openStoreLocation, type StoreLocation, versionsOf } from "../support/stores.ts";
import { until } from "../support/until.ts";

/** Makes the database refuse everybody, and answers what lets them in again. */
async function takeAway(databaseUrl: string): Promise<() => Promise<void>> {
	const name = new URL(databaseUrl).pathname.slice(1);
	const client = new pg.Client({ connectionString: process.env.TEST_DATABASE_URL });
	await client.connect();
	await client.query(`alter database ${name} allow_connections false`);
	await client.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
	return async () => {
		await client.query(`alter database ${name} allow_connections true`);
		await client.end();
		// PgBouncer, where one is in between, waits a second after a failed connection.
		await until("it answers again", () => answers(databaseUrl), { seconds: 5 });
	};
}

async function answers(databaseUrl: string): Promise<boolean> {
	const client = new pg.Client({ connectionString: databaseUrl });
	try {
		await client.connect();
		await client.query("select 1");
		return true;
	} catch {
		return false;
	} finally {
		await client.end();
	}
}

/** Holds SQLite's write lock as another process would. */
function lock({ dataDir }: StoreLocation): () => void {
	const other = new DatabaseSync(join(dataDir, "gatehouse.db"));
	other.exec("begin immediate");
	return () => {
		other.exec("rollback");
		other.close();
	};
}

function unavailable(
	t: Test,
	answer: { statusCode: number; headers: object; body: string },
	tookMs: number,
	what: string,
) {
	t.match(JSON.parse(answer.body), { statusCode: 503, code: "STORE_UNAVAILABLE" }, what);
	t.match(answer.headers, { "retry-after": /^\d+$/ }, what);
	t.ok(tookMs < 3500, `${what}: within two seconds or so, ${Math.round(tookMs)} ms`);
}

const changePassword = ({ app }: TestApp, token: string) => {
	const { payload, headers } = form({
		current_password: goodPassword,
		new_password: "walnut harbour sixteen lanterns",
	});
	return app.inject({
		method: "POST",
		url: "/password",
		payload,
		headers: { ...headers, authorization: `Bearer ${token}` },
	});
};

onEachStore((kind) => {
	t.test(`${kind}: probes say what they must, and never ask the store`, async (t) => {
		const { get, services } = await testApp(t, { store: kind });
		t.strictSame((await get("/livez")).json(), { status: "ok" });
		const ready = await get("/readyz");
		t.equal(ready.statusCode, 200);
		t.strictSame(ready.json(), { status: "ok", store: "up" });
		let questions = 0;
		// With PostgreSQL they are two.
		for (const db of new Set([services.store.db, services.store.following])) {
			const executor = db.getExecutor();
			const { executeQuery } = executor;
			executor.executeQuery = ((...args: Parameters<typeof executeQuery>) => {
				questions++;
				return executeQuery.apply(executor, args);
			}) as typeof executeQuery;
		}
		await versionsOf(services.store);
		t.ok(questions >= 1, "a question is counted");
		questions = 0;
		await Promise.all(Array.from({ length: 200 }, (_, index) => get(index % 2 ? "/readyz" : "/livez")));
		t.ok(questions <= 2, `${questions} questions to the store during 200 probes: those of its own polling`);
		services.readiness.drain();
		const draining = await get("/readyz");
		t.equal(draining.statusCode, 503);
		t.strictSame(draining.json(), { status: "draining", store: "up" });
		t.equal(draining.headers.connection, "close");
		t.equal((await get("/livez")).statusCode, 200, "alive to the end");
	});
});

t.test("the documentation names each state that /readyz may answer", async (t) => {
	const { app } = await testApp(t);
	const { paths } = app.swagger() as unknown as { paths: Record<string, unknown> };
	const schema = {
		properties: {
			status: { enum: ["starting", "ok", "degraded", "draining", "stale", "no-signing-key"] },
			store: { enum: ["up", "down"] },
		},
	};
	const answer = { content: { "application/json": { schema } } };
	t.match(paths["/readyz"], { get: { responses: { 200: answer, 503: answer } } });
});

t.test("postgres: with the store gone, what is known goes on and the rest is 503, until it is back", async (t) => {
	const location = await openStoreLocation(t, "postgres");
	const house = await testApp(t, { location });
	const { get, login, services } = house;
	const token = await house.tokenFor("root");
	const bringBack = await takeAway(location.databaseUrl ?? "");
	try {
		await services.changes.poll();
		for (const [what, call] of Object.entries({
			login: () => login("root"),
			password: () => changePassword(house, token),
			me: () => get("/me", token),
		})) {
			const began = performance.now();
			unavailable(t, await call(), performance.now() - began, what);
		}
		t.equal((await get("/protected", token)).statusCode, 200, "verification goes on");
		t.equal((await get("/.well-known/jwks.json")).statusCode, 200, "the keys are known");
		t.equal((await get("/livez")).statusCode, 200);
		const ready = await get("/readyz");
		t.equal(ready.statusCode, 200, "otherwise the outage would take verification away with it");
		t.strictSame(ready.json(), { status: "degraded", store: "down" });
		t.notMatch(house.rawLog(), /postgres:postgres/, "and holds no password of the database");
	} finally {
		await bringBack();
	}
	await services.changes.poll();
	t.strictSame((await get("/readyz")).json(), { status: "ok", store: "up" });
	t.equal((await login("root")).statusCode, 200, "it recovers by itself");
});

t.test("postgres: with a staleness of 0 nothing is accepted on old knowledge", async (t) => {
	const location = await openStoreLocation(t, "postgres");
	const house = await testApp(t, { location, settings: { REVOCATION_MAX_STALENESS_SECONDS: "0" } });
	const { get, services } = house;
	const token = await house.tokenFor("root");
	t.equal((await get("/protected", token)).statusCode, 200);
	const bringBack = await takeAway(location.databaseUrl ?? "");
	try {
		await services.changes.poll();
		const answer = await get("/protected", token);
		unavailable(t, answer, 0, "protected");
		const ready = await get("/readyz");
		t.equal(ready.statusCode, 503);
		t.strictSame(ready.json(), { status: "stale", store: "down" });
		t.equal((await get("/livez")).statusCode, 200);
		t.equal((await get("/.well-known/jwks.json")).statusCode, 200);
	} finally {
		await bringBack();
	}
	await services.changes.poll();
	t.equal((await get("/protected", token)).statusCode, 200);
	t.equal((await get("/readyz")).statusCode, 200);
});

t.test("sqlite: under another process's lock reading goes on, and writing is 503 within two seconds", async (t) => {
	const location = await openStoreLocation(t, "sqlite");
	const house = await testApp(t, { location });
	const { app, get, login } = house;
	const tokens = (await login("root")).json<{ access_token: string; refresh_token: string }>();
	const { access_token: token, refresh_token } = tokens;
	// The writes alone are timed: before them come the dictionary and hashes, which take what the machine takes.
	const { users, sessions } = house.services;
	const tookMs = { password: Number.NaN, login: Number.NaN, refresh: Number.NaN };
	const timed = <Values extends unknown[], Answer>(
		name: keyof typeof tookMs,
		write: (...values: Values) => Promise<Answer>,
	) => {
		return async (...values: Values): Promise<Answer> => {
			const began = performance.now();
			return write(...values).finally(() => {
				tookMs[name] = performance.now() - began;
			});
		};
	};
	users.replacePassword = timed("password", users.replacePassword);
	sessions.begin = timed("login", sessions.begin) as typeof sessions.begin;
	sessions.advance = timed("refresh", sessions.advance);
	const release = lock(location);
	try {
		const change = changePassword(house, token);
		t.equal((await get("/protected", token)).statusCode, 200);
		t.equal((await get("/livez")).statusCode, 200);
		t.equal((await get("/readyz")).statusCode, 200);
		unavailable(t, await change, tookMs.password, "password");
		unavailable(t, await login("root"), tookMs.login, "login: it writes the session");
		const refresh = form({ refresh_token });
		const refused = await app.inject({ method: "POST", url: "/refresh", ...refresh });
		unavailable(t, refused, tookMs.refresh, "refresh");
	} finally {
		release();
	}
	t.equal((await changePassword(house, token)).statusCode, 204, "it recovers by itself");
});
