/**
 * How many guesses anybody gets. Each try is counted in the store before a hash is spent on it, for its account and for its
 * address, whether or not the account exists; a right one is taken back. So a process that dies in between leaves a try
 * counted, never one uncounted. A device that has logged in to the account before has tries of its own, and so gets in
 * while strangers have used up the account's.
 */
import { createHmac } from "node:crypto";
import type { Config } from "../config/config.ts";
import { errors } from "../errors.ts";
import type { SecurityEventRecorder } from "../security-events/recorder.ts";
import { quietly, type Store } from "../store/store.ts";
import { accountLimit, addressLimit, deviceLimit } from "./allowances.ts";
import type { NamedDevice } from "./device-token.ts";
import type { AssertRoom, Guess, Try } from "./guess.ts";
import { networkOf } from "./network.ts";
import { createSpraying } from "./spraying.ts";
import { type Bucket, createTries, waitSeconds } from "./tries.ts";
import { createUnderWay } from "./under-way.ts";

/**
 * So often a try waits for those that are under way in the rows that refuse it: many right ones at once of one account
 * all get in, and who guesses in parallel waits a moment longer for the refusal.
 */
const turns = 5;
/** So many of a process wait at a time: a flood of guesses must not come back to the store all at once. */
const mostWaiting = 20;

/** A try in the rows of the account and the address, each with the seconds that the next one has to wait. */
interface Counted {
	both: readonly [account: Bucket, address: Bucket];
	passwordRow: string;
	counted: ReadonlyMap<string, number>;
	/** Ends its being under way. */
	end: () => void;
}

export type Limits = ReturnType<typeof createLimits>;

/**
 * Builds the service over the table `login_tries`.
 *
 * @param getKeys 256 bits each, of which the first one names the rows: the store holds no name and no password that
 * somebody has typed. Asked for at the first use.
 */
export function createLimits({
	store,
	config,
	getKeys,
	securityEvents,
}: {
	store: Store;
	config: Pick<Config, "loginLimits" | "loginAccountFailures" | "loginAddressFailures">;
	getKeys: () => readonly [Buffer, ...Buffer[]];
	securityEvents: Pick<SecurityEventRecorder, "record">;
}) {
	const tries = createTries({ store });
	const spraying = createSpraying({ store });
	const underWay = createUnderWay();
	let waiting = 0;
	/** Accounts of which a login goes first in this process. */
	const goingFirst = new Set<string>();
	const ofAccount = accountLimit(config.loginAccountFailures);
	const ofAddress = addressLimit(config.loginAddressFailures);
	/** How often a limit has refused a try, by what had used it up. */
	const limited = { account: 0, address: 0, password: 0, device: 0 };

	function tooMany(kind: keyof typeof limited, seconds: number): Error {
		limited[kind]++;
		return Object.assign(new errors.TOO_MANY_ATTEMPTS(), { retryAfter: Math.max(1, seconds) });
	}

	/** Counts a try against the account and the address, or refuses it. */
	async function takeAsStranger(guess: Guess, assertRoom: AssertRoom): Promise<Try> {
		const [key] = getKeys();
		const account: Bucket = { key: accountRow(key, guess.username), limit: ofAccount };
		const address: Bucket = { key: hashed(key, "address", networkOf(guess.origin.ip)), limit: ofAddress };
		const passwordRow = spraying.rowOf(key, guess.password);
		const both = [account, address] as const;
		const keys = both.map(({ key: row }) => row);

		const look = async () => {
			const { now, rows } = await tries.look([...keys, passwordRow]);
			return {
				ofBoth: both.map(({ key: row, limit }) => waitSeconds(rows.get(row), limit, now)),
				ofPassword: spraying.waitSeconds(rows.get(passwordRow), now),
			};
		};
		let kind: keyof typeof limited = "account";
		for (let turn = 0; turn < turns; turn++) {
			// Asked before the look: what ends meanwhile has to be looked at again.
			const endings = both.map(({ key: row }) => underWay.ending(row));
			// Looked at first: who is refused costs the store one read and no write.
			const { ofBoth, ofPassword } = await look();
			const [ofAccount = 0, ofAddress = 0] = ofBoth;
			const wait = Math.max(ofAccount, ofAddress, ofPassword);
			kind = ofAccount === wait ? "account" : ofAddress === wait ? "address" : "password";
			if (wait > 0) {
				const refusing = endings.filter((_, place) => (ofBoth[place] ?? 0) > 0);
				if (ofPassword > 0 || refusing.includes(undefined)) throw tooMany(kind, wait);
				if (waiting >= mostWaiting) break;
				waiting++;
				await Promise.all(refusing.map((ending) => ending ?? Promise.resolve()));
				waiting--;
				continue;
			}
			assertRoom(false);
			const end = underWay.begin(keys);
			try {
				const counted = await tries.take(both);
				if (counted.size === both.length) return strangersTry(guess, { both, passwordRow, counted, end });
				// Others were faster.
				const partly = both.filter(({ key: row }) => counted.has(row));
				if (partly.length > 0) await tries.giveBack(partly);
			} catch (error) {
				end();
				throw error;
			}
			end();
		}
		// How long it would be, only the outcome of the others can tell.
		throw tooMany(kind, 1);
	}

	/** What becomes of a try that was counted against the account and the address. */
	function strangersTry({ origin, userId, isDisabled }: Guess, { both, passwordRow, counted, end }: Counted): Try {
		const [account] = both;
		const user = userId === undefined ? {} : { user: userId };
		/** Says that a limit was reached: not before the try counts for good, or right ones at once would look like guessing. */
		const record = () => {
			const [accountWait = 0, addressWait = 0] = both.map(({ key }) => counted.get(key));
			if (accountWait > 0)
				securityEvents.record({ event: "login_account_limited", seconds: accountWait, ...user }, origin);
			if (addressWait > 0)
				securityEvents.record({ event: "login_address_limited", seconds: addressWait, ...user }, origin);
		};
		const note = async () => {
			if (await spraying.note(isDisabled ? spraying.anyRow() : passwordRow, account.key))
				securityEvents.record({ event: "login_password_sprayed" }, origin);
		};
		// What fails leaves the try counted. Only of a right one the answer depends on it: its login needs the store next, and
		// would wait for that once more.
		return {
			first: false,
			right: () => tries.giveBack(both, account.key).finally(end),
			unchecked: () => quietly(tries.giveBack(both)).finally(end),
			abandoned() {
				end();
				record();
			},
			wrong() {
				end();
				record();
				return quietly(note());
			},
		};
	}

	/** The same against the allowance of the device alone; `undefined` where there is nothing left of it. */
	async function takeAsDevice(device: NamedDevice, assertRoom: AssertRoom): Promise<Try | undefined> {
		const own: Bucket = { key: `${deviceRows(device.userId)}${device.id}`, limit: deviceLimit };
		const { now, rows } = await tries.look([own.key]);
		if (device.expiresAt <= now) return undefined;
		if (waitSeconds(rows.get(own.key), deviceLimit, now) > 0) {
			limited.device++;
			return undefined;
		}
		// One login of an account at a time, or its owner alone could shut all strangers out.
		const first = !goingFirst.has(device.userId);
		assertRoom(first);
		if (first) goingFirst.add(device.userId);
		const end = () => {
			if (first) goingFirst.delete(device.userId);
		};
		const counted = await tries.take([own]).catch((error: unknown) => {
			end();
			throw error;
		});
		if (counted.size === 0) {
			end();
			limited.device++;
			return undefined;
		}
		return {
			first,
			right: () => tries.giveBack([own], own.key).finally(end),
			unchecked: () => quietly(tries.giveBack([own])).finally(end),
			abandoned: end,
			async wrong() {
				end();
			},
		};
	}

	return {
		/**
		 * Counts a try, or refuses it. It says the same of accounts that do not exist.
		 *
		 * @param assertRoom throws BUSY where the hash would be refused; asked before the try is written, so that what cannot be
		 * checked leaves no row.
		 * @throws TOO_MANY_ATTEMPTS, BUSY, STORE_UNAVAILABLE: who cannot count lets nobody guess.
		 */
		async take(guess: Guess, assertRoom: AssertRoom): Promise<Try> {
			if (!config.loginLimits) return uncounted;
			return (guess.device && (await takeAsDevice(guess.device, assertRoom))) ?? takeAsStranger(guess, assertRoom);
		},

		/** How often a limit has refused a try so far. A device that has used up its own may still get in as a stranger. */
		stats: () => ({ ...limited }),

		/**
		 * Forgets all wrong tries on an account, of strangers and of its devices; not those of an address. Under another SECRET
		 * than the servers' it would find none: the caller makes sure of it.
		 */
		async unlock({ id, username }: { id: string; username: string }): Promise<void> {
			await store.db
				.deleteFrom("login_tries")
				.where((row) =>
					row.or([
						row(
							"bucket",
							"in",
							getKeys().map((key) => accountRow(key, username)),
						),
						row("bucket", "like", `${deviceRows(id)}%`),
					]),
				)
				.execute();
		},

		/** Deletes up to 500 rows that say nothing any more; answers how many. */
		purge: tries.purge,
	};
}

const uncounted: Try = {
	first: false,
	right: async () => {},
	wrong: async () => {},
	unchecked: async () => {},
	abandoned() {},
};

const hashed = (key: Buffer, kind: string, text: string): string =>
	`${kind}:${createHmac("sha256", key).update(`${kind}\0${text}`).digest("base64url").slice(0, 22)}`;
const accountRow = (key: Buffer, username: string): string => hashed(key, "account", username);
const deviceRows = (userId: string): string => `device:${userId}:`;
