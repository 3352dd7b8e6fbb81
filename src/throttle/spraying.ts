/**
 * One password over many accounts: each account gets so few tries that its own limit sees nothing, so wrong passwords are
 * watched too. What is kept of one says little, also to who has the store and SECRET: 20 bits of a keyed hash, an hour
 * long, never of a right password and without its account. Of the accounts a map of 48 bits is kept, one bit each, so
 * that one account that repeats itself stays one.
 */
import { createHash, createHmac } from "node:crypto";
import { sql } from "kysely";
import type { Store } from "../store/store.ts";

/** How long a wrong password is remembered. */
const windowSeconds = 3600;
/** So many bits of the map are set by about 26 accounts. */
const mostMarks = 20;

/** Builds the watch over rows of the table `login_tries`. */
export function createSpraying({ store }: { store: Store }) {
	return {
		/** The row of a password; a million of them share all passwords there are. */
		rowOf: (key: Buffer, password: string): string =>
			`password:${createHmac("sha256", key).update(`password\0${password}`).digest().readUInt32BE() >>> 12}`,

		/** Notes that a password was wrong for an account. True when that makes it too many: then it is refused for the hour. */
		async note(row: string, account: string): Promise<boolean> {
			const now = store.nowExpression();
			const mark = 2 ** (createHash("sha256").update(account).digest().readUInt32BE() % 48);
			const isOver = sql<boolean>`login_tries.forgotten_at <= ${now}`;
			const noted = await store.db
				.insertInto("login_tries")
				.values({
					bucket: row,
					forgotten_at: sql<number>`${now} + ${sql.lit(windowSeconds)}`,
					retry_at: 0,
					marks: mark,
				})
				.onConflict((conflict) =>
					conflict.column("bucket").doUpdateSet({
						forgotten_at: sql<number>`case when ${isOver} then ${now} + ${sql.lit(windowSeconds)} else login_tries.forgotten_at end`,
						retry_at: sql<number>`case when ${isOver} then 0 else login_tries.retry_at end`,
						marks: sql<number>`case when ${isOver} then excluded.marks else login_tries.marks | excluded.marks end`,
					}),
				)
				.returning(["marks", "retry_at"])
				.executeTakeFirstOrThrow();
			if (noted.retry_at > 0 || countBits(noted.marks) < mostMarks) return false;
			await store.db
				.updateTable("login_tries")
				.set(({ ref }) => ({ retry_at: ref("forgotten_at") }))
				.where("bucket", "=", row)
				.execute();
			return true;
		},
	};
}

const countBits = (marks: number): number => marks.toString(2).replaceAll("0", "").length;
