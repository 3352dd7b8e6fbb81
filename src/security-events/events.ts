/**
 * Every security event there is (ASVS 16.2.1): its name, how it came out, and what is known of it. The type of an event
 * follows from this table, and so do the log's lines, the stored rows and the table in docs/operations.md. None of them
 * ever holds a username that nobody has: people type passwords into that field.
 */

/** What may be known of an event. */
interface Facts {
	/** The account's id. */
	user: string;
	/** The session's id. */
	session: string;
	/** Why it was refused: for the log and the administrators, never for the client. */
	reason: string;
	/** A signing key. */
	kid: string;
	/** The roles of the account from then on. */
	roles: readonly string[];
	/** The `jti` of the access token; without it, a refresh token was revoked with its session. */
	jti: string;
	/** The generation of the session. */
	generation: number;
	/** The generation that the refused refresh token names. */
	given: number;
	/** From when on tokens are good again, in epoch seconds. */
	before: number;
	/** How many sessions were ended. */
	sessions: number;
	/** How long nothing more is let through. */
	seconds: number;
}

type Fact = keyof Facts;

const happened = <const Always extends readonly Fact[], const Sometimes extends readonly Fact[] = readonly []>(
	message: string,
	always: Always,
	sometimes?: Sometimes,
) => ({ outcome: "success" as const, message, always, sometimes: sometimes ?? ([] as readonly Fact[] as Sometimes) });

const refused = <const Always extends readonly Fact[], const Sometimes extends readonly Fact[] = readonly []>(
	message: string,
	always: Always,
	sometimes?: Sometimes,
) => ({ ...happened(message, always, sometimes), outcome: "refused" as const });

/** The events: the message of the log's line, the facts each one always has, and those it sometimes has. */
export const securityEvents = {
	login: happened("logged in", ["user", "session"]),
	login_refused: refused("login refused", ["reason"], ["user"]),
	login_account_limited: refused("an account was tried too often", ["seconds"], ["user"]),
	login_address_limited: refused("an address has tried too often", ["seconds"], ["user"]),
	login_password_sprayed: refused("one password was tried on many accounts", []),
	reauthentication: happened("gave the password again", ["user", "session"]),
	reauthentication_refused: refused("the password given again was refused", ["user", "session", "reason"]),
	refresh: happened("refreshed", ["user", "session"]),
	refresh_token_refused: refused("refresh token refused", ["reason"], ["user", "session"]),
	refresh_token_reuse: refused("a refresh token was used again; its session was ended", [
		...(["user", "session", "reason"] as const),
		...(["generation", "given"] as const),
	]),
	logout: happened("logged out", ["user", "session"]),
	logout_everywhere: happened("logged out everywhere", ["user"], ["session"]),
	session_ended: happened("ended a session", ["user", "session"]),
	all_sessions_ended: happened("ended all sessions of an account, whose devices stay known", ["user"]),
	token_revoked: happened("revoked a token", ["user", "session"], ["jti"]),
	password_changed: happened("password changed", ["user", "session"]),
	password_change_refused: refused("password change refused", ["user", "session", "reason"]),
	password_reset: happened("password set by an administrator", ["user"]),
	account_added: happened("account added", ["user", "roles"]),
	account_unlocked: happened("the wrong passwords tried on an account were forgotten", ["user"]),
	account_disabled: happened("account disabled", ["user"]),
	account_enabled: happened("account enabled", ["user"]),
	account_deleted: happened("account deleted", ["user"]),
	roles_changed: happened("roles changed", ["user", "roles"]),
	first_administrator_made: happened("an empty store got its first administrator", ["user"]),
	everything_revoked: happened("every token and session from before a time was revoked", ["before", "sessions"]),
	key_published: happened("a signing key was published", ["kid"]),
	key_active: happened("a signing key signs from now on", ["kid"]),
	key_retiring: happened("a signing key only verifies from now on", ["kid"]),
	key_gone: happened("a signing key has left the ring", ["kid"]),
	key_revoked: happened("a signing key was revoked", ["kid"]),
} as const;

export type SecurityEventName = keyof typeof securityEvents;

/** How an event came out. */
export type SecurityOutcome = (typeof securityEvents)[SecurityEventName]["outcome"];

type Of<Name extends SecurityEventName> = { readonly event: Name } & Readonly<
	Pick<Facts, (typeof securityEvents)[Name]["always"][number]> &
		Partial<Pick<Facts, (typeof securityEvents)[Name]["sometimes"][number]>>
>;

/** One event: its name, and the facts that the table above gives it. */
export type SecurityEvent = { [Name in SecurityEventName]: Of<Name> }[SecurityEventName];

/** An event that ends in a refusal. */
export type Refusal = Extract<SecurityEvent, { readonly reason: string }>;

/**
 * The `cause` of an error that is a security event: `plugins/errors.ts` records it as it answers, with the request's
 * address and id. So whoever refuses needs to know neither, and a refusal is one line of the log and not two.
 */
export const refusal = (event: Refusal): Error => Object.assign(new Error(event.reason), { securityEvent: event });

/** The event that an error was caused by. */
export const refusalOf = (error: unknown): Refusal | undefined =>
	(error as { cause?: { securityEvent?: Refusal } } | undefined)?.cause?.securityEvent;
