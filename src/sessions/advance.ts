/** The one step that a refresh makes: a session goes from one generation to the next, by compare-and-swap. */
import { type Expression, sql } from "kysely";
import { createBatches } from "../store/batches.ts";
import type { Slot, Store } from "../store/store.ts";
import { placeOf } from "./place.ts";
import type { Session } from "./session.ts";

type Named = Pick<Session, "id" | "generation">;

/**
 * Builds the step over the table `sessions`.
 *
 * @param accessUntil what `access_until` becomes.
 */
export function createAdvance({
	store,
	idleSeconds,
	accessUntil,
}: {
	store: Store;
	idleSeconds: number;
	accessUntil: () => Expression<number>;
}): (session: Named) => Promise<boolean> {
	const update = () => {
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
	};

	const advanceRow = store.prepare((slot: Slot<Named>) =>
		update().where("id", "=", slot("id")).where("generation", "=", slot("generation")),
	);

	/** Many at once, on SQLite: those that are at their places. */
	const advancePlaced = () => {
		const advanceEach = store.prepareEach((slot: Slot<Named & { place: number }>) =>
			update()
				.where("rowid", "=", slot("place"))
				.where("id", "=", slot("id"))
				.where("generation", "=", slot("generation")),
		);
		return async (all: readonly Named[]) => {
			const rows = await advanceEach(all.map(({ id, generation }) => ({ id, generation, place: placeOf(id) })));
			return rows.map((row) => row !== undefined);
		};
	};

	/** Many at once, on PostgreSQL: none that another transaction is at, which would keep all of them waiting. */
	const advanceUnlocked = () => {
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
		return async (all: readonly Named[]) => {
			// Where a session comes twice, its last place counts; the other is told no, and asks alone.
			const places = new Map(all.map(({ id }, place) => [id, place]));
			const generationById = Object.fromEntries(all.map(({ id, generation }) => [id, generation]));
			const rows = await advanceRows({ generationById: JSON.stringify(generationById) });
			const moved = new Set(rows.map(({ id }) => places.get(id)));
			return all.map((_, place) => moved.has(place));
		};
	};

	const advanceTogether = createBatches<Named, boolean>(store.kind === "sqlite" ? advancePlaced() : advanceUnlocked());

	/**
	 * Moves a session from one generation to the next, once: of several callers with the same generation one succeeds.
	 *
	 * @returns whether it did: not where another caller was first or the session has ended.
	 */
	return async (session) => {
		if (await advanceTogether(session)) return true;
		// Perhaps only passed over, or not at its place. Alone it may wait for whoever is at the row, and its answer is the last word.
		return (await advanceRow({ id: session.id, generation: session.generation })).length === 1;
	};
}
