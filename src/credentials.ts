/** Username and password: the check at login, and every way a password is set. */
import { errors } from "./errors.ts";
import type { Passwords, StoredPassword } from "./passwords/passwords.ts";
import { canonicalUsername } from "./usernames.ts";
import type { Credentials, User, Users } from "./users.ts";

export type CredentialService = ReturnType<typeof createCredentials>;

/** Builds the service over the accounts and the hashing pool. */
export function createCredentials({ users, passwords }: { users: Users; passwords: Passwords }) {
	/**
	 * The account that this username and password belong to.
	 *
	 * Unknown, disabled and wrong take the same work and give the same answer. A stored hash that is not what would
	 * be written today is replaced on the way.
	 *
	 * @param signal aborts while the check waits for its turn.
	 * @throws INVALID_USERNAME, INVALID_PASSWORD, INVALID_CREDENTIALS, BUSY, STORE_UNAVAILABLE
	 */
	async function check(username: string, given: string, signal?: AbortSignal): Promise<User> {
		const name = canonicalUsername(username);
		const normalized = passwords.normalize(given);
		passwords.assertRoom();
		const found = await users.findCredentials({ username: name });
		const enabled = found?.disabled === false ? found : undefined;
		const matches = await passwords.verify(normalized, enabled?.password, signal);
		if (!enabled || !matches) throw new errors.INVALID_CREDENTIALS({ cause: refusal(found) });
		const password = await upgrade(enabled, normalized, signal);
		const user = await users.find(enabled.id);
		// Last: what changed while the hash was computed. A new password, or another login's upgrade, decides anew.
		const now = await users.findCredentials({ id: enabled.id });
		if (now && now.password.hash !== password.hash) return check(username, given, signal);
		if (!user || !now || now.disabled) throw new errors.INVALID_CREDENTIALS({ cause: refusal(now) });
		return user;
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
	 * Changes an account's own password.
	 *
	 * @throws INVALID_TOKEN where the account is gone, INVALID_CURRENT_PASSWORD, INVALID_PASSWORD, WEAK_PASSWORD, BUSY
	 */
	async function change(userId: string, current: string, next: string, signal?: AbortSignal): Promise<void> {
		const found = await users.findCredentials({ id: userId });
		if (!found || found.disabled)
			throw new errors.INVALID_TOKEN({ cause: new Error("the account is disabled or gone") });
		await passwords.checkPolicy(next, found.username);
		if (!(await passwords.verify(current, found.password, signal))) throw new errors.INVALID_CURRENT_PASSWORD();
		const replaced = await users.replacePassword(found, await passwords.hash(next, signal), { sameSecret: false });
		// Somebody changed it, or a login upgraded its hash, while ours was computed: then the check counts for nothing.
		if (!replaced) return change(userId, current, next, signal);
	}

	/**
	 * Sets an account's password without asking for the old one: for administrators.
	 *
	 * @throws USER_NOT_FOUND, INVALID_PASSWORD, WEAK_PASSWORD, BUSY
	 */
	async function reset(userId: string, next: string): Promise<void> {
		const found = await users.findCredentials({ id: userId });
		if (!found) throw new errors.USER_NOT_FOUND();
		await passwords.checkPolicy(next, found.username);
		const replaced = await users.replacePassword(found, await passwords.hash(next), { sameSecret: false });
		if (!replaced) return reset(userId, next);
	}

	return { check, register, change, reset };

	/**
	 * Replaces an outdated hash of a password that was just right, and answers what should be stored now. A busy pool or a
	 * store that cannot be written leaves it for next time: neither is a reason to refuse the login.
	 */
	async function upgrade(found: Credentials, password: string, signal?: AbortSignal): Promise<StoredPassword> {
		if (!passwords.isOutdated(found.password)) return found.password;
		try {
			const next = await passwords.hash(password, signal);
			const replaced = await users.replacePassword(found, next, { sameSecret: true });
			return replaced ? next : found.password;
		} catch (error) {
			if (!(error instanceof errors.BUSY) && !(error instanceof errors.STORE_UNAVAILABLE)) throw error;
			return found.password;
		}
	}
}

/** What the log may know of a refused login, and the client may not. */
function refusal(found: Credentials | undefined): Error {
	if (!found) return new Error("no such account");
	return new Error(`${found.disabled ? "disabled account" : "wrong password"} ${found.id}`);
}
