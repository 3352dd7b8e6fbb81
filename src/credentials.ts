/** Username and password: the check at login, and every way a password is set. */
import { errors } from "./errors.ts";
import { loginRefusal, ownDevice, wrongPassword } from "./password-answers.ts";
import type { Passwords, StoredPassword } from "./passwords/passwords.ts";
import type { Session } from "./sessions/session.ts";
import type { Device, Sessions } from "./sessions/sessions.ts";
import { type DeviceTokens, deviceSeconds, type NamedDevice } from "./throttle/device-token.ts";
import type { Limits } from "./throttle/limits.ts";
import type { Credentials } from "./users/stored-passwords.ts";
import { canonicalUsername } from "./users/usernames.ts";
import type { User, Users } from "./users/users.ts";

/** Where a password comes from, as far as one can know. */
export interface Caller {
	address: string;
	requestId: string;
	/** Of an earlier login on the same device; one that is not ours or not of this account counts as none. */
	deviceToken?: string | undefined;
}

export type CredentialService = ReturnType<typeof createCredentials>;

/** Builds the service over the accounts, their sessions and the hashing pool. */
export function createCredentials({
	users,
	sessions,
	passwords,
	limits,
	deviceTokens,
}: {
	users: Users;
	sessions: Sessions;
	passwords: Passwords;
	limits: Limits;
	deviceTokens: DeviceTokens;
}) {
	/**
	 * Compares a password that somebody gives. Every door that takes one comes through here, so that all count in the same
	 * place: before the hash, and the same whether or not there is such an account.
	 */
	async function compare(
		username: string,
		found: Credentials | undefined,
		password: string,
		{ address, requestId, device }: Caller & { device: NamedDevice | undefined },
		signal?: AbortSignal,
	): Promise<{ matches: boolean; first: boolean }> {
		const guess = {
			username,
			password,
			origin: { id: requestId, ip: address },
			device: ownDevice(device, found),
			userId: found?.id,
			isDisabled: found?.disabled === true,
		};
		const attempt = await limits.take(guess, passwords.assertRoom);
		const enabled = found?.disabled === false ? found : undefined;
		let matches: boolean;
		try {
			matches = await passwords.verify(password, enabled?.password, signal, attempt.first);
		} catch (error) {
			if (error instanceof errors.BUSY) await attempt.unchecked();
			// A client that hung up: its hash may run already, and would cost it nothing.
			else attempt.abandoned();
			throw error;
		}
		await (matches ? attempt.right() : attempt.wrong());
		return { matches, first: attempt.first };
	}

	/** The caller with what its device token says, where it is one of ours. */
	const recognise = <Given extends Caller>(caller: Given) => ({
		...caller,
		device: caller.deviceToken === undefined ? undefined : deviceTokens.read(caller.deviceToken),
	});

	/** The logins that ended before the password was compared. */
	const logins = { limited: 0, busy: 0, unavailable: 0 };

	function countEnded(error: unknown): never {
		if (error instanceof errors.TOO_MANY_ATTEMPTS) logins.limited++;
		else if (error instanceof errors.BUSY) logins.busy++;
		else if (error instanceof errors.STORE_UNAVAILABLE) logins.unavailable++;
		throw error;
	}

	/** Throws BUSY where the login of a stranger would be: to be asked before the form is read, so that refusing costs little. */
	function assertRoom(caller: Caller): void {
		try {
			if (!recognise(caller).device) passwords.assertRoom();
		} catch (busy) {
			countEnded(busy);
		}
	}

	/**
	 * Begins a session for the account that this username and password belong to.
	 *
	 * Unknown, disabled and wrong take the same work and give the same answer. A stored hash that is not what would
	 * be written today is replaced on the way.
	 *
	 * @param signal aborts while the check waits for its turn.
	 * @throws INVALID_USERNAME, INVALID_PASSWORD, INVALID_CREDENTIALS, TOO_MANY_ATTEMPTS, BUSY, STORE_UNAVAILABLE
	 * @returns the session, and the token that makes this device a known one.
	 */
	const login = (...given: Parameters<typeof attempt>): ReturnType<typeof attempt> =>
		attempt(...given).catch(countEnded);

	async function attempt(
		username: string,
		given: string,
		caller: Caller & Device,
		signal?: AbortSignal,
	): Promise<{ user: User; session: Session; deviceToken: string }> {
		const name = canonicalUsername(username);
		const normalized = passwords.normalize(given);
		const recognised = recognise(caller);
		// Before the store is asked. Whether a device is known only the store can tell: then there is room, or not, in compare.
		if (!recognised.device) passwords.assertRoom();
		const found = await users.findCredentials({ username: name });
		const { matches, first } = await compare(name, found, normalized, recognised, signal);
		if (!found || !matches) throw new errors.INVALID_CREDENTIALS({ cause: loginRefusal(found) });
		const { id, deviceGeneration: generation } = found;
		const password = await upgrade(found, normalized, signal, first);
		const session = await sessions.begin(id, caller, password.hash);
		// After the session is there: who takes a role away and then ends all sessions either comes before this, or ends this one.
		const user = session && (await users.find(id));
		if (user && !user.disabled) {
			// The same id for the same device: logging in again and again must not make it many, each with tries of its own.
			// Not that of a void or an expired token: whoever has such a one could use the tries of this device up for ever.
			const own = ownDevice(recognised.device, found);
			const deviceId = own && own.expiresAt > session.createdAt ? own.id : deviceTokens.newId();
			const expiresAt = session.createdAt + deviceSeconds;
			return { user, session, deviceToken: deviceTokens.make({ id: deviceId, userId: id, generation, expiresAt }) };
		}
		const now = await users.findCredentials({ id });
		if (!now || now.disabled) throw new errors.INVALID_CREDENTIALS({ cause: loginRefusal(now) });
		// A new password, or another login's upgrade of its hash: decide anew.
		return attempt(username, given, caller, signal);
	}

	/**
	 * Makes an account under the password policy and answers its id.
	 *
	 * @throws INVALID_USERNAME, USERNAME_TAKEN, UNKNOWN_ROLE, INVALID_PASSWORD, WEAK_PASSWORD, BUSY
	 */
	async function register(username: string, password: string, roles: readonly string[]): Promise<string> {
		const name = canonicalUsername(username);
		await passwords.checkPolicy(password, name);
		return users.add(name, await passwords.hash(password), roles);
	}

	/**
	 * Changes an account's own password and ends its other sessions. The new password makes all devices unknown but the one
	 * that changes it: who guesses at the account meanwhile must not lock its owner out.
	 *
	 * @returns the device's new token, good as long as the one that it gave would have been; none where that was not its own.
	 * @throws INVALID_TOKEN where the account is gone, INVALID_CURRENT_PASSWORD, INVALID_PASSWORD, WEAK_PASSWORD,
	 * TOO_MANY_ATTEMPTS, BUSY
	 */
	async function change(
		{ userId, sessionId }: { userId: string; sessionId: string },
		current: string,
		next: string,
		caller: Caller,
		signal?: AbortSignal,
	): Promise<{ deviceToken: string; expiresAt: number } | undefined> {
		const normalized = passwords.normalize(current);
		passwords.normalize(next);
		const found = await owner(userId);
		const recognised = recognise(caller);
		// First what is counted: the policy takes a thread as well, and a known device goes first from here on.
		const { matches, first } = await compare(found.username, found, normalized, recognised, signal);
		if (!matches) throw wrongPassword("password_change_refused", { userId, sessionId });
		await passwords.checkPolicy(next, found.username, signal, first);
		const replaced = await users.replacePassword(found, await passwords.hash(next, signal, first), sessionId);
		// Somebody changed it, or a login upgraded its hash, while ours was computed: then the check counts for nothing.
		if (!replaced) return change({ userId, sessionId }, current, next, caller, signal);
		const own = ownDevice(recognised.device, found);
		if (!own) return undefined;
		const { expiresAt } = own;
		// Where a logout everywhere came in between, the account is one generation further, and this token is void too.
		return { deviceToken: deviceTokens.make({ ...own, generation: found.deviceGeneration + 1 }), expiresAt };
	}

	/**
	 * Checks the password of an account that is already known: to confirm who is there.
	 *
	 * @throws INVALID_TOKEN where the account is gone, INVALID_CURRENT_PASSWORD, INVALID_PASSWORD, TOO_MANY_ATTEMPTS, BUSY
	 */
	async function confirm(
		{ userId, sessionId }: { userId: string; sessionId: string },
		given: string,
		caller: Caller,
		signal?: AbortSignal,
	): Promise<void> {
		const normalized = passwords.normalize(given);
		const found = await owner(userId);
		const { matches } = await compare(found.username, found, normalized, recognise(caller), signal);
		if (!matches) throw wrongPassword("reauthentication_refused", { userId, sessionId });
	}

	async function owner(userId: string): Promise<Credentials> {
		const found = await users.findCredentials({ id: userId });
		if (found && !found.disabled) return found;
		throw new errors.INVALID_TOKEN({ cause: new Error("the account is disabled or gone") });
	}

	/**
	 * Sets an account's password without asking for the old one, and ends its sessions: for administrators.
	 *
	 * @throws USER_NOT_FOUND, INVALID_PASSWORD, WEAK_PASSWORD, BUSY
	 */
	async function reset(userId: string, next: string): Promise<void> {
		const found = await users.findCredentials({ id: userId });
		if (!found) throw new errors.USER_NOT_FOUND();
		await passwords.checkPolicy(next, found.username);
		const replaced = await users.replacePassword(found, await passwords.hash(next));
		if (!replaced) return reset(userId, next);
	}

	return {
		...{ assertRoom, login, register, change, confirm, reset },
		/** How many logins were refused by a limit, a full queue, or for want of the store. Right and wrong ones are events. */
		stats: () => ({ logins: { ...logins } }),
	};

	/**
	 * Replaces an outdated hash of a password that was just right, and answers what should be stored now. A busy pool or a
	 * store that cannot be written leaves it for next time: neither is a reason to refuse the login.
	 */
	async function upgrade(
		found: Credentials,
		password: string,
		signal: AbortSignal | undefined,
		first: boolean,
	): Promise<StoredPassword> {
		if (!passwords.isOutdated(found.password)) return found.password;
		try {
			const next = await passwords.hash(password, signal, first);
			const replaced = await users.upgradeHash(found, next);
			return replaced ? next : found.password;
		} catch (error) {
			if (!(error instanceof errors.BUSY) && !(error instanceof errors.STORE_UNAVAILABLE)) throw error;
			return found.password;
		}
	}
}
