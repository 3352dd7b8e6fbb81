/**
 * Passwords: what the rest of the house calls. Takes them as they were typed, settles their Unicode form, and hashes,
 * compares and judges them in a bounded pool of threads. Knows no users and no store.
 */
import { errors } from "../errors.ts";
import { encodePassword, normalizePassword, type PasswordScheme, readCost } from "./encoding.ts";
import { openPool } from "./pool.ts";

/** What the store keeps of a password. */
export interface StoredPassword {
	hash: string;
	scheme: PasswordScheme;
}

export interface PasswordSettings {
	/** bcrypt's cost, 10 to 14: one more doubles the work. */
	cost: number;
	/** How many threads hash; undefined takes the CPUs that the process really has. */
	threads: number | undefined;
	/** A task that would wait longer than this is refused at once. */
	maxWaitSeconds: number;
	/** The shortest new password, in code points after normalisation. */
	minLength: number;
}

export type Passwords = ReturnType<typeof openPasswords>;

/** Opens the pool; its threads start with the first task. */
export function openPasswords(settings: PasswordSettings) {
	const { cost, threads, maxWaitSeconds, minLength } = settings;
	const pool = openPool({
		threads,
		maxWaitSeconds,
		// 0.19 s at cost 12 on a usual CPU; measurements replace it soon.
		hashSeconds: 0.19 * 2 ** (cost - 12),
	});

	return {
		/**
		 * The one form in which a password is set and checked (RFC 8265 section 4.2, OpaqueString). Throws INVALID_PASSWORD.
		 */
		normalize: normalizePassword,

		/**
		 * Refuses a new password that is too short, easy to guess, or holds the username or the service's name. Throws
		 * WEAK_PASSWORD with the reason, INVALID_PASSWORD, BUSY, the signal's reason. `first` here and below: before all that are not.
		 */
		async checkPolicy(password: string, username: string, signal?: AbortSignal, first?: boolean): Promise<void> {
			const task = {
				password: normalizePassword(password),
				username,
				minLength,
			};
			const { value: weakness } = await pool.run("findWeakness", task, 1, signal, first);
			if (weakness !== undefined) throw new errors.WEAK_PASSWORD(weakness);
		},

		/** Hashes at the current cost, with a salt of its own. Throws INVALID_PASSWORD, BUSY, the signal's reason. */
		async hash(password: string, signal?: AbortSignal, first?: boolean): Promise<StoredPassword> {
			const { input, scheme } = encodePassword(normalizePassword(password));
			const { value: hash } = await pool.run("hash", { input, cost }, 1, signal, first);
			return { hash, scheme };
		},

		/**
		 * True when the password is the stored one. Every false costs one hash at the current cost, so that its duration does
		 * not tell an unknown or disabled account (`stored` undefined) from a wrong password; only a stored hash of higher cost
		 * takes longer. What is malformed or of cost over 14 matches nothing. Throws
		 * INVALID_PASSWORD, BUSY, the signal's reason.
		 */
		async verify(
			password: string,
			stored: StoredPassword | undefined,
			signal?: AbortSignal,
			first?: boolean,
		): Promise<boolean> {
			const { input, scheme } = encodePassword(normalizePassword(password));
			// The digest of a long password is itself a short password: it must not open the account.
			const comparable = stored?.scheme === scheme ? stored.hash : undefined;
			const storedCost = readCost(comparable ?? "") ?? cost;
			const { value: matches } = await pool.run(
				"verify",
				{ input, stored: comparable, cost },
				Math.max(1, 2 ** (storedCost - cost)),
				signal,
				first,
			);
			return matches;
		},

		/**
		 * True when `hash` would write it differently today, in cost or kind (`$2a$`, `$2y$`): to be replaced after a good
		 * login. The scheme follows from the password's length alone, so a hash that matched has the right one.
		 */
		isOutdated(stored: StoredPassword): boolean {
			return !stored.hash.startsWith(`$2b$${String(cost).padStart(2, "0")}$`);
		},

		/** Throws BUSY where a check would be refused now: before the store is asked for what could not be checked anyway. */
		assertRoom: pool.assertRoom,

		/** The queue and the work so far, in hashes at the current cost: for metrics, and for tests of equal work. */
		stats: pool.stats,

		/** Refuses what waits, lets what runs finish, and ends the threads. */
		close: pool.close,
	};
}
