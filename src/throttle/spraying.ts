/**
 * One password over many accounts: each account gets so few tries that its own limit sees nothing, so wrong passwords are
 * watched too. What is kept of one says nothing to who has the store alone. With SECRET it says 20 bits of the password,
 * for two hours at most, and never of a right one. It must not say whose that was, although the security events name who
 * was refused and when: so all rows end at whole hours. Of the accounts a map of 48 bits is kept, one bit each, so that
 * one account that repeats itself stays one: where few were refused at that time, it may still tell which.
 */
import { createHash, createHmac, randomInt } from "node:crypto";
import { sql } from "kysely";
import type { Store } from "../store/store.ts";
import { clockMargin, type Row } from "./tries.ts";

/** A wrong password is remembered for an hour, and then until the hour of the clock is full. */
const hourSeconds = 3600;
/** A time that lies further ahead is from before the clock was set back, and counts for nothing. */
const furthestSeconds = 2 * hourSeconds + clockMargin;
/** So many bits of the map are set by about 26 accounts. */
const mostMarks = 20;

/** Builds the watch over rows of the table `login_tries`. */
export function createSpraying({ store }: { store: Store }) {
	return {
		/** The row of a password; a million of them share all passwords there are. */
		rowOf: (key: Buffer, password: string): string =>
			`password:${createHmac("sha256", key).update(`password\0${password}`).digest().readUInt32BE() >>> 12}`,

		/** A row that stands for no password, where none may be noted: the write is the same, and so is its time. */
		anyRow: (): string => `password:${randomInt(2 ** 20)}`,

		/** In how many seconds a password may be tried again; 0 where it may be now. */
		waitSeconds(row: Row | undefined, now: number): number {
			const wait = (row?.retry_at ?? 0) - now;
			return wait > furthestSeconds ? 0 : Math.max(0, wait);
		},

		/** Notes that a password was wrong for an account. True when that makes it too many: then it is refused until its row ends. */
		async note(row: string, account: string): Promise<boolean> {
			const now = store.nowExpression();
			const mark = 2 ** (createHash("sha256").update(account).digest().readUInt32BE() % 48);
			// A cast, because SQLite takes a number from outside for a fraction.
			const end = sql<number>`(cast(${now} / ${sql.lit(hourSeconds)} as integer) + 2) * ${sql.lit(hourSeconds)}`;
			const isOver = sql<boolean>`(login_tries.forgotten_at <= ${now} or login_tries.forgotten_at > ${now} + ${sql.lit(furthestSeconds)})`;
			const noted = await store.db
				.insertInto("login_tries")
				.values({
					bucket: row,
					forgotten_at: end,
					retry_at: 0,
					marks: mark,
				})
				.onConflict((conflict) =>
					conflict.column("bucket").doUpdateSet({
						forgotten_at: sql<number>`case when ${isOver} then ${end} else login_tries.forgotten_at end`,
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
