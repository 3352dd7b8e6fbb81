/** The one step that a refresh makes: a session goes from one generation to the next, by compare-and-swap. */
import { type Expression, sql } from "kysely";
import { createBatches } from "../store/batches.ts";
import type { Slot, Store } from "../store/store.ts";
import { isRowOf, placeOf } from "./place.ts";
import type { Session } from "./session.ts";

type Named = Pick<Session, "id" | "generation">;

/**
 * Moves a session from one generation to the next, once: of several callers with the same generation one succeeds.
 *
 * @returns whether it did: not where another caller was first or the session has ended.
 */
export type Advance = (session: Named) => Promise<boolean>;

interface AdvanceOptions {
	store: Store;
	idleSeconds: number;
	/** What `access_until` becomes. */
	accessUntil: () => Expression<number>;
}

/** Builds the step over the table `sessions`. */
export function createAdvance(options: AdvanceOptions): Advance {
	const { store } = options;
	const update = () => updateOf(options);
	return store.kind === "sqlite" ? advanceOnSqlite(store, update) : advanceOnPostgres(store, update);
}

type Update = () => ReturnType<typeof updateOf>;

/** The step of a session that has not ended; which one is for the caller to say. */
function updateOf({ store, idleSeconds, accessUntil }: AdvanceOptions) {
	const now = store.nowExpression();
	return store.db
		.updateTable("sessions")
		.set((row) => ({
			generation: row("generation", "+", 1),
			refreshed_at: now,
			expires_at: row
				.case()
				.when(row("absolute_expires_at", "<", row(now, "+", idleSeconds)))
				.then(row.ref("absolute_expires_at"))
				.else(row(now, "+", idleSeconds))
				.end(),
			access_until: accessUntil(),
		}))
		.where("expires_at", ">", now)
		.returning("id");
}

/** Many at once in one transaction: SQLite has one writer, so nobody is at a row. */
function advanceOnSqlite(store: Store, update: Update): Advance {
	const advanceEach = store.prepareEach((slot: Slot<Named & { place: number }>) =>
		update()
			.where(isRowOf({ id: slot("id"), place: slot("place") }))
			.where("generation", "=", slot("generation")),
	);
	return createBatches(async (all) => {
		const rows = await advanceEach(all.map(({ id, generation }) => ({ id, generation, place: placeOf(id) })));
		return rows.map((row) => row !== undefined);
	});
}

/** Many at once in one statement, but none that another transaction is at: that one would keep all of them waiting. */
function advanceOnPostgres(store: Store, update: Update): Advance {
	const advanceRows = store.prepare((slot: Slot<{ generationById: string }>) => {
		const asked = sql<{ key: string; value: number }>`json_each(${slot("generationById")})`.as("asked");
		return update().where("id", "in", (query) =>
			query
				.selectFrom(asked)
				.innerJoin("sessions as named", "named.id", "asked.key")
				.whereRef("named.generation", "=", sql`cast(cast(asked.value as text) as bigint)`)
				.select("named.id")
				.forNoKeyUpdate("named")
				.skipLocked(),
		);
	});
	const advanceRow = store.prepare((slot: Slot<Named>) =>
		update().where("id", "=", slot("id")).where("generation", "=", slot("generation")),
	);

	const advanceTogether = createBatches<Named, boolean>(async (all) => {
		// Where a session comes twice, the last one counts; the other is told no, and asks alone.
		const indexOf = new Map(all.map(({ id }, index) => [id, index]));
		const generationById = Object.fromEntries(all.map(({ id, generation }) => [id, generation]));
		const rows = await advanceRows({ generationById: JSON.stringify(generationById) });
		const moved = new Set(rows.map(({ id }) => indexOf.get(id)));
		return all.map((_, index) => moved.has(index));
	});

	return async (session) => {
		if (await advanceTogether(session)) return true;
		// Perhaps only passed over. Alone it may wait for whoever is at the row, and its answer is the last word.
		return (await advanceRow({ id: session.id, generation: session.generation })).length === 1;
	};
}
