/** Username and password: the check at login, and every way a password is set. */
import { errors } from "./errors.ts";
import type { Passwords, StoredPassword } from "./passwords/passwords.ts";
import { refusal } from "./security-events/events.ts";
import type { Device, Session, Sessions } from "./sessions/sessions.ts";
import type { Credentials } from "./users/stored-passwords.ts";
import { canonicalUsername } from "./users/usernames.ts";
import type { User, Users } from "./users/users.ts";

export type CredentialService = ReturnType<typeof createCredentials>;

/** Builds the service over the accounts, their sessions and the hashing pool. */
export function createCredentials({
	users,
	sessions,
	passwords,
}: {
	users: Users;
	sessions: Sessions;
	passwords: Passwords;
}) {
	/**
	 * Begins a session for the account that this username and password belong to.
	 *
	 * Unknown, disabled and wrong take the same work and give the same answer. A stored hash that is not what would
	 * be written today is replaced on the way.
	 *
	 * @param signal aborts while the check waits for its turn.
	 * @throws INVALID_USERNAME, INVALID_PASSWORD, INVALID_CREDENTIALS, BUSY, STORE_UNAVAILABLE
	 */
	async function login(
		username: string,
		given: string,
		device: Device,
		signal?: AbortSignal,
	): Promise<{ user: User; session: Session }> {
		const name = canonicalUsername(username);
		const normalized = passwords.normalize(given);
		passwords.assertRoom();
		const found = await users.findCredentials({ username: name });
		const enabled = found?.disabled === false ? found : undefined;
		const matches = await passwords.verify(normalized, enabled?.password, signal);
		if (!enabled || !matches) throw new errors.INVALID_CREDENTIALS({ cause: loginRefusal(found) });
		const password = await upgrade(enabled, normalized, signal);
		const session = await sessions.begin(enabled.id, device, (transaction) =>
			users.isUnchanged(transaction, { id: enabled.id, password }),
		);
		// After the session is there: who takes a role away and then ends all sessions either comes before this, or ends this one.
		const user = session && (await users.find(enabled.id));
		if (user && !user.disabled) return { user, session };
		const now = await users.findCredentials({ id: enabled.id });
		if (!now || now.disabled) throw new errors.INVALID_CREDENTIALS({ cause: loginRefusal(now) });
		// A new password, or another login's upgrade of its hash: decide anew.
		return login(username, given, device, signal);
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
	 * Changes an account's own password and ends its other sessions.
	 *
	 * @throws INVALID_TOKEN where the account is gone, INVALID_CURRENT_PASSWORD, INVALID_PASSWORD, WEAK_PASSWORD, BUSY
	 */
	async function change(
		{ userId, sessionId }: { userId: string; sessionId: string },
		current: string,
		next: string,
		signal?: AbortSignal,
	): Promise<void> {
		const found = await owner(userId);
		await passwords.checkPolicy(next, found.username);
		if (!(await passwords.verify(current, found.password, signal)))
			throw wrongPassword("password_change_refused", { userId, sessionId });
		const replaced = await users.replacePassword(found, await passwords.hash(next, signal), sessionId);
		// Somebody changed it, or a login upgraded its hash, while ours was computed: then the check counts for nothing.
		if (!replaced) return change({ userId, sessionId }, current, next, signal);
	}

	/**
	 * Checks the password of an account that is already known: to confirm who is there.
	 *
	 * @throws INVALID_TOKEN where the account is gone, INVALID_CURRENT_PASSWORD, INVALID_PASSWORD, BUSY
	 */
	async function confirm(
		{ userId, sessionId }: { userId: string; sessionId: string },
		given: string,
		signal?: AbortSignal,
	): Promise<void> {
		const found = await owner(userId);
		if (!(await passwords.verify(given, found.password, signal)))
			throw wrongPassword("reauthentication_refused", { userId, sessionId });
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

	return { login, register, change, confirm, reset };

	/**
	 * Replaces an outdated hash of a password that was just right, and answers what should be stored now. A busy pool or a
	 * store that cannot be written leaves it for next time: neither is a reason to refuse the login.
	 */
	async function upgrade(found: Credentials, password: string, signal?: AbortSignal): Promise<StoredPassword> {
		if (!passwords.isOutdated(found.password)) return found.password;
		try {
			const next = await passwords.hash(password, signal);
			const replaced = await users.upgradeHash(found, next);
			return replaced ? next : found.password;
		} catch (error) {
			if (!(error instanceof errors.BUSY) && !(error instanceof errors.STORE_UNAVAILABLE)) throw error;
			return found.password;
		}
	}
}

/** What the log may know of a refused login, and the client may not. */
function loginRefusal(found: Credentials | undefined): Error {
	if (!found) return refusal({ event: "login_refused", reason: "no such account" });
	const reason = found.disabled ? "disabled account" : "wrong password";
	return refusal({ event: "login_refused", reason, user: found.id });
}

function wrongPassword(
	event: "password_change_refused" | "reauthentication_refused",
	{ userId: user, sessionId: session }: { userId: string; sessionId: string },
): Error {
	return new errors.INVALID_CURRENT_PASSWORD({ cause: refusal({ event, reason: "wrong password", user, session }) });
}
