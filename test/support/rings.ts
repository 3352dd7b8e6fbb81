/** Replicas over one key ring, time that passes for it on either store, and verifiers that keep the key set. */
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { sql } from "kysely";
import type { Test } from "tap";
import type { StoreKind } from "../../src/store/migrations.ts";
import { createFakeClock, type FakeClock, type TestApp, testApp } from "./app.ts";
import { openStoreLocation } from "./stores.ts";

/** Replicas over one fresh store. */
export interface RingTest {
	clock: FakeClock;
	/** Starts one more replica; settings by their environment names. */
	start(settings?: Record<string, string>): Promise<TestApp>;
	/**
	 * Lets so many seconds pass. PostgreSQL's clock cannot be moved: there every time of the ring moves back instead, and the
	 * seconds that the test itself takes come on top.
	 */
	pass(seconds: number): Promise<void>;
	/** All replicas hear what is new and report it; then all look at once what is due, as they do every few seconds, and hear of it. */
	turn(): Promise<void>;
	/** The states of the ring as the store has them, the oldest key first: `active ES256`. */
	states(): Promise<string[]>;
}

export async function ringTest(t: Test, kind: StoreKind): Promise<RingTest> {
	const location = await openStoreLocation(t, kind);
	const clock = createFakeClock();
	const houses: TestApp[] = [];
	const first = () => {
		if (!houses[0]) throw new Error("no replica was started");
		return houses[0].services;
	};
	async function pass(seconds: number): Promise<void> {
		clock.advance(seconds);
		const { db } = first().store;
		// They have reported themselves all the time.
		if (kind === "sqlite")
			return void (await db
				.updateTable("replicas")
				.set(({ eb }) => ({ seen_at: eb("seen_at", "+", seconds) }))
				.execute());
		await db
			.updateTable("replicas")
			.set(({ eb }) => ({ since_at: eb("since_at", "-", seconds) }))
			.execute();
		const back = (name: string) => sql<number>`${sql.ref(name)} - ${seconds}`;
		const values = { created_at: back("created_at"), signs_at: back("signs_at"), ends_at: back("ends_at") };
		await db.updateTable("signing_keys").set(values).execute();
	}
	return {
		clock,
		pass,
		async start(settings = {}) {
			// Keys of one second have no order.
			if (houses.length > 0) await pass(1);
			const house = await testApp(t, { location, clock, settings });
			houses.push(house);
			return house;
		},
		async turn() {
			await Promise.all(houses.map(({ services }) => beat(services)));
			await Promise.all(houses.map(({ services }) => services.rotation.advance()));
			await Promise.all(houses.map(({ services }) => hear(services)));
		},
		async states() {
			const keys = await first().rotation.list();
			return keys.map(({ state, algorithm }) => `${state} ${algorithm}`).reverse();
		},
	};
}

/** Makes a replica hear of what is committed now, also where a question was under way already. */
export async function hear({ changes }: TestApp["services"]): Promise<void> {
	await changes.poll();
	await changes.poll();
}

/** Makes a replica hear of what is committed now and report itself, as it does every few seconds. */
export async function beat(services: TestApp["services"]): Promise<void> {
	await hear(services);
	await services.replicaReports.beat(services.keys.kids());
}

/** The ids of the keys that a replica shows. */
export const shownKids = async ({ get }: TestApp): Promise<string[]> =>
	(await get("/.well-known/jwks.json")).json<{ keys: { kid: string }[] }>().keys.map(({ kid }) => kid);

/** The id of the key that a token was signed with. */
export const kidOf = (token: string): string =>
	(JSON.parse(Buffer.from(token.split(".", 1)[0] ?? "", "base64url").toString()) as { kid: string }).kid;

/**
 * Another service that verifies offline: it keeps the key set exactly as long as it was told, by the clock of the test,
 * and never asks before that, not even when it meets an unknown key.
 */
export function createVerifier(house: TestApp, clock: FakeClock) {
	let kept: { keySet: ReturnType<typeof createLocalJWKSet>; until: number } | undefined;
	return async (token: string): Promise<void> => {
		if (!kept || clock.now() >= kept.until) {
			const answer = await house.get("/.well-known/jwks.json");
			const maxAge = Number(/max-age=(\d+)/.exec(answer.headers["cache-control"] as string)?.[1]);
			kept = { keySet: createLocalJWKSet(answer.json<JSONWebKeySet>()), until: clock.now() + maxAge };
		}
		const currentDate = new Date(clock.now() * 1000);
		const issuer = "http://localhost:3000";
		await jwtVerify(token, kept.keySet, { issuer, audience: issuer, typ: "at+jwt", clockTolerance: 30, currentDate });
	};
}
