/**
 * How many guesses anybody gets. Each try is counted in the store before a hash is spent on it, for its account and for its
 * address, whether or not the account exists; a right one is taken back. So a process that dies in between leaves a try
 * counted, never one uncounted. A device that has logged in to the account before has tries of its own, and so gets in
 * while strangers have used up the account's.
 */
import { createHmac } from "node:crypto";
import type { Config } from "../config/config.ts";
import { errors } from "../errors.ts";
import type { Origin, SecurityEventRecorder } from "../security-events/recorder.ts";
import type { Store } from "../store/store.ts";
import type { NamedDevice } from "./device-token.ts";
import { networkOf } from "./network.ts";
import { createSpraying } from "./spraying.ts";
import { type Bucket, createTries, type Limit, waitSeconds } from "./tries.ts";

const daySeconds = 86_400;
const addressSeconds = 900;

/** At most 50 are remembered, of which 50 a day are forgotten: so no 24 hours see more than 100. */
const accountLimit = (free: number): Limit => ({ free, firstDelay: 1, most: 50, forgetSeconds: daySeconds / 50 });
/** So many, then none for 15 minutes. */
const addressLimit = (free: number): Limit => ({
	free,
	firstDelay: addressSeconds,
	most: free,
	forgetSeconds: Math.ceil(addressSeconds / free),
});
/** Ten, of which one comes back each 2.4 hours: what a stolen token is worth, and no more. */
const deviceLimit: Limit = { free: 10, firstDelay: addressSeconds, most: 10, forgetSeconds: daySeconds / 10 };

/** A password that somebody gives, and what is known of who does. */
export interface Guess {
	/** In canonical form; whether an account has it makes no difference. */
	username: string;
	/** In normal form. */
	password: string;
	/** Where it comes from: the address counts, both go into security events. */
	origin: Origin;
	/** The device that a good token names, of this very account. */
	device: NamedDevice | undefined;
	/** For security events. */
	userId: string | undefined;
	/** Whether the account is disabled: then its right password, too, is answered as a wrong one. */
	isDisabled: boolean;
}

/** A try that was let through and counted. One of the three has to follow, or it counts as wrong. */
export interface Try {
	/** Whether it comes from a device that has logged in to the account before: it goes first in the queue. */
	readonly known: boolean;
	right(): Promise<void>;
	wrong(): Promise<void>;
	/** No hash was spent on it. */
	unchecked(): Promise<void>;
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
	const ofAccount = accountLimit(config.loginAccountFailures);
	const ofAddress = addressLimit(config.loginAddressFailures);
	/** How often a limit has refused a try, by what had used it up. */
	const limited = { account: 0, address: 0, password: 0, device: 0 };

	/** Counts a try against the account and the address, or refuses it. */
	async function takeAsStranger(guess: Guess): Promise<Try> {
		const [key] = getKeys();
		const account: Bucket = { key: accountRow(key, guess.username), limit: ofAccount };
		const address: Bucket = { key: hashed(key, "address", networkOf(guess.origin.ip)), limit: ofAddress };
		const passwordRow = spraying.rowOf(key, guess.password);
		const both = [account, address];

		/** What has to be waited for the longest. */
		const look = async (): Promise<{ kind: keyof typeof limited; seconds: number }> => {
			const { now, rows } = await tries.look([account.key, address.key, passwordRow]);
			const [first, ...others] = [
				{ kind: "account", seconds: waitSeconds(rows.get(account.key), account.limit, now) },
				{ kind: "address", seconds: waitSeconds(rows.get(address.key), address.limit, now) },
				{ kind: "password", seconds: spraying.waitSeconds(rows.get(passwordRow), now) },
			] as const;
			return others.reduce<{ kind: keyof typeof limited; seconds: number }>(
				(longest, wait) => (wait.seconds > longest.seconds ? wait : longest),
				first,
			);
		};
		const tooMany = ({ kind, seconds }: Awaited<ReturnType<typeof look>>): Error => {
			limited[kind]++;
			return Object.assign(new errors.TOO_MANY_ATTEMPTS(), { retryAfter: Math.max(1, seconds) });
		};
		// Looked at first: who is refused costs the store one read and no write.
		const wait = await look();
		if (wait.seconds > 0) throw tooMany(wait);
		const counted = await tries.take(both);
		if (counted.size < both.length) {
			const partly = both.filter(({ key: row }) => counted.has(row));
			if (partly.length > 0) await tries.giveBack(partly);
			throw tooMany(await look());
		}
		const { origin, userId } = guess;
		const user = userId === undefined ? {} : { user: userId };
		const [accountWait = 0, addressWait = 0] = both.map(({ key: row }) => counted.get(row));
		if (accountWait > 0)
			securityEvents.record({ event: "login_account_limited", seconds: accountWait, ...user }, origin);
		if (addressWait > 0)
			securityEvents.record({ event: "login_address_limited", seconds: addressWait, ...user }, origin);
		return {
			known: false,
			right: () => quietly(tries.giveBack(both, account.key)),
			unchecked: () => quietly(tries.giveBack(both)),
			wrong: () =>
				quietly(
					spraying.note(guess.isDisabled ? spraying.anyRow() : passwordRow, account.key).then((isTooMany) => {
						if (isTooMany) securityEvents.record({ event: "login_password_sprayed" }, origin);
					}),
				),
		};
	}

	/** The same against the allowance of the device alone; `undefined` where there is nothing left of it. */
	async function takeAsDevice(device: NamedDevice): Promise<Try | undefined> {
		const own: Bucket = { key: `${deviceRows(device.userId)}${device.id}`, limit: deviceLimit };
		const { now, rows } = await tries.look([own.key]);
		if (device.expiresAt <= now) return undefined;
		const isUsedUp = waitSeconds(rows.get(own.key), deviceLimit, now) > 0;
		if (isUsedUp || (await tries.take([own])).size === 0) {
			limited.device++;
			return undefined;
		}
		return {
			known: true,
			right: () => quietly(tries.giveBack([own], own.key)),
			unchecked: () => quietly(tries.giveBack([own])),
			wrong: async () => {},
		};
	}

	return {
		/**
		 * Counts a try, or refuses it. It says the same of accounts that do not exist.
		 *
		 * @throws TOO_MANY_ATTEMPTS, STORE_UNAVAILABLE: who cannot count lets nobody guess.
		 */
		async take(guess: Guess): Promise<Try> {
			if (!config.loginLimits) return uncounted;
			return (guess.device && (await takeAsDevice(guess.device))) ?? takeAsStranger(guess);
		},

		/** How often a limit has refused a try so far. A device that has used up its own may still get in as a stranger. */
		stats: () => ({ ...limited }),

		/** Forgets all wrong tries on an account, of strangers and of its devices; not those of an address. */
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

const uncounted: Try = { known: false, right: async () => {}, wrong: async () => {}, unchecked: async () => {} };

const hashed = (key: Buffer, kind: string, text: string): string =>
	`${kind}:${createHmac("sha256", key).update(`${kind}\0${text}`).digest("base64url").slice(0, 22)}`;
const accountRow = (key: Buffer, username: string): string => hashed(key, "account", username);
const deviceRows = (userId: string): string => `device:${userId}:`;

/** What failed leaves the try counted: the answer does not depend on it. */
async function quietly(work: Promise<void>): Promise<void> {
	try {
		await work;
	} catch (error) {
		if (!(error instanceof errors.STORE_UNAVAILABLE)) throw error;
	}
}
