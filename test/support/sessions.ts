/** Sessions for tests: begun without a hash, used at every door, and made older. */
import type { LightMyRequestResponse } from "fastify";
import { type RawBuilder, sql } from "kysely";
import pg from "pg";
import type { Test } from "tap";
import type { Services } from "../../src/services.ts";
import type { Session } from "../../src/sessions/session.ts";
import type { Device } from "../../src/sessions/sessions.ts";
import type { Store } from "../../src/store/store.ts";
import { aDevice, form, type TestApp } from "./app.ts";
import type { StoreLocation } from "./stores.ts";

/** The tokens of one session. */
export interface Pair {
	access: string;
	refresh: string;
}

/** A pair as a client reads it from an answer. */
export const pairOf = (answer: LightMyRequestResponse): Pair => {
	const { access_token: access = "", refresh_token: refresh = "" } = answer.json();
	return { access, refresh };
};

/** The row of a session that begins now, as if the account's password had just been given. */
export async function beginRow(
	{ sessions, users }: Pick<Services, "sessions" | "users">,
	userId: string,
	device: Device = aDevice,
): Promise<Session> {
	const { password } = (await users.findCredentials({ id: userId })) ?? {};
	const session = password && (await sessions.begin(userId, device, password.hash));
	if (!session) throw new Error(`no session for ${userId}`);
	return session;
}

/** Begins a session as a login does, but for the password, and gives its tokens. */
export async function beginSession({ app, services }: TestApp, userId: string): Promise<Pair & { id: string }> {
	const user = await services.users.find(userId);
	if (!user) throw new Error(`no account ${userId}`);
	const session = await beginRow(services, userId);
	const claims = services.tokens.claimsFor(user, session, { fresh: true });
	return { id: session.id, access: await app.signAccessToken(claims), refresh: services.refresh.tokenOf(session) };
}

/** POST of a form, with a Bearer token where one is given. */
export function post(
	{ app }: TestApp,
	url: string,
	fields: Record<string, string>,
	token?: string,
	more: Record<string, string> = {},
) {
	const { payload, headers } = form(fields);
	const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
	return app.inject({ method: "POST", url, payload, headers: { ...headers, ...authorization, ...more } });
}

/** POST /refresh. */
export const refreshWith = (house: TestApp, token: string) => post(house, "/refresh", { refresh_token: token });

/** Refreshes once, which must succeed. */
export async function rotate(t: Test, house: TestApp, token: string, what = "refreshed"): Promise<Pair> {
	const answer = await refreshWith(house, token);
	t.equal(answer.statusCode, 200, what);
	return pairOf(answer);
}

/** The claims of an access token. */
export const claimsOf = (token: string) =>
	JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;

/** An access token of root, which may introspect. */
export async function introspector(house: TestApp): Promise<string> {
	const { id } = await house.services.users.getByName("root");
	return (await beginSession(house, id)).access;
}

/** Every door that still opens for one of these tokens. Introspection is asked before a refresh token is used up. */
export async function openDoors(house: TestApp, asker: string, { access, refresh }: Partial<Pair>): Promise<string[]> {
	const open: string[] = [];
	const note = (door: string, isOpen: boolean) => {
		if (isOpen) open.push(door);
	};
	for (const [kind, token] of Object.entries({ access, refresh })) {
		if (token === undefined) continue;
		const { active } = (await post(house, "/introspect", { token }, asker)).json();
		note(`introspect ${kind}`, active !== false);
	}
	if (access !== undefined)
		for (const door of ["/protected", "/me", "/sessions"])
			note(door, (await house.get(door, access)).statusCode !== 401);
	if (refresh !== undefined) note("/refresh", (await refreshWith(house, refresh)).statusCode !== 401);
	return open;
}

/** Lets time pass for the store: SQLite follows the test's clock; on PostgreSQL everything becomes older instead. */
export async function passTime({ services, clock }: TestApp, seconds: number): Promise<void> {
	const { store } = services;
	if (store.kind === "sqlite") return clock.advance(seconds);
	await sql`update sessions set created_at = created_at - ${seconds}::bigint,
		authenticated_at = authenticated_at - ${seconds}::bigint, refreshed_at = refreshed_at - ${seconds}::bigint,
		expires_at = expires_at - ${seconds}::bigint, absolute_expires_at = absolute_expires_at - ${seconds}::bigint,
		access_until = access_until - ${seconds}::bigint, purge_at = purge_at - ${seconds}::bigint`.execute(store.db);
	await bulk(services.config, store, sql`update revocations set ends_at = ends_at - ${seconds}::bigint`);
}

/** A statement of the test's own about very many rows: on PostgreSQL without the time limit that the service has. */
export async function bulk(
	{ databaseUrl }: Pick<StoreLocation, "databaseUrl">,
	{ db }: Store,
	statement: RawBuilder<unknown>,
): Promise<void> {
	if (databaseUrl === undefined) return void (await statement.execute(db));
	const client = new pg.Client({ connectionString: databaseUrl });
	await client.connect();
	const { sql: text, parameters } = statement.compile(db);
	try {
		await client.query(text, [...parameters]);
	} finally {
		await client.end();
	}
}
