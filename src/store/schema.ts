/**
 * The tables, as Kysely sees them: the same on SQLite and on PostgreSQL. Ids are text, times are epoch seconds.
 * A module owns its tables: no other module writes them.
 */

import type { ColumnType, Generated } from "kysely";

/** An account. `username` is canonical, so that UNIQUE means what a person means by it. */
export interface UsersTable {
	id: string;
	username: string;
	password_hash: string;
	/** How the password was prepared for bcrypt: as it is, or above 72 bytes as its HMAC. */
	password_scheme: "bcrypt" | "bcrypt-hmac-sha256";
	password_changed_at: number;
	disabled_at: number | null;
	created_at: number;
	/** How often its devices were made unknown: a device token of an earlier count is void. */
	device_generation: Generated<number>;
}

/** Tombstones: a token outlives its account, so every replica has to know which ids are gone. */
export interface DeletedUsersTable {
	id: string;
	deleted_at: number;
}

/** The names a person can be given. */
export interface RolesTable {
	name: string;
}

/** What a role allows. */
export interface RolePermissionsTable {
	role: string;
	permission: string;
}

/** Who has which role; the rows go with their user. */
export interface UserRolesTable {
	user_id: string;
	role: string;
}

/**
 * The states of a key, in the order of its life: shown to verifiers, signing, verifying only, and no longer of use. A
 * revoked key goes from any of them to the last one.
 */
export type KeyState = "published" | "active" | "retiring" | "gone";

/** The key ring. A unique index allows one active key, whoever makes one at the same time. */
export interface SigningKeysTable {
	kid: string;
	algorithm: string;
	state: KeyState;
	/** The private key, encrypted: a dump of the store signs nothing. Empty once the key is gone. */
	private_key_sealed: string;
	created_at: number;
	/** When a published key may sign, or since when another one did. */
	signs_at: number;
	/** When the last token of a retiring key has ended, or when a key was gone. */
	ends_at: number | null;
	/** The longest ACCESS_TOKEN_SECONDS among the processes that sign with it. */
	token_seconds: number;
}

/** A login that can still be refreshed. It has one row, however many tokens it was given; an ended one has none. */
export interface SessionsTable {
	/** SQLite's own, which PostgreSQL does not have: see `src/sessions/place.ts`. */
	rowid: ColumnType<number, number | null | undefined, never>;
	/** The `sid` of its tokens. */
	id: string;
	user_id: string;
	/** How often it was refreshed: the one number that tells its newest refresh token from all earlier ones. */
	generation: number;
	/** What the client said of itself at the login; not to be trusted. */
	user_agent: string | null;
	/** From where it was begun. */
	address: string;
	created_at: number;
	/** When the password was last given. */
	authenticated_at: number;
	refreshed_at: number;
	/** The end by idleness, moved by each refresh, never past `absolute_expires_at`. */
	expires_at: number;
	/** The end whatever happens, fixed at the login. */
	absolute_expires_at: number;
	/** When the last access token it was given expires. */
	access_until: number;
	/**
	 * When the purge looks at it: then it is over, or put off to the end that it has by now, by a week at most. No refresh moves
	 * this, so that none has to write into an index. What the version before has begun has 0.
	 */
	purge_at: number;
}

/** Ids (`sid` or `jti`) whose access tokens are refused although they have not expired. */
export interface RevocationsTable {
	id: string;
	/** From then on no token with this id can live, and the row may go. */
	ends_at: number;
	/** The version of the topic `revocations` with which it was written, so that readers ask only for what is new. */
	seq: number;
}

/** What has happened, for those who ask later: see `src/security-events/events.ts`. Rows older than its days leave. */
export interface SecurityEventsTable {
	/** In the order of time within one second of one process. */
	id: string;
	at: number;
	event: string;
	outcome: "success" | "refused";
	user_id: string | null;
	session_id: string | null;
	/** Of the client; none where a command or the service itself did it. */
	address: string | null;
	request_id: string | null;
	/** The event's other facts, as JSON. */
	details: string;
}

/** One row at most, with the name `issued`: everything issued before `at` is refused. Loaded with the topic `revocations`. */
export interface CutoffsTable {
	name: "issued";
	at: number;
}

/** What one replica does for all of them, and when it is due again. */
export interface ChoresTable {
	name: string;
	next_at: number;
}

/** Tries of passwords that are still remembered. A row names nobody: its name is a keyed hash. */
export interface LoginTriesTable {
	/** Whose tries: an account's, an address's, a device's, or those with one password. */
	bucket: string;
	/** When the last of them is forgotten. */
	forgotten_at: number;
	/** Until then no further one is let through. */
	retry_at: number;
	/** Of a wrong password: a map of the accounts that it was tried on. */
	marks: number;
}

/** What replicas poll for. */
export type ChangeTopic = "accounts" | "keys" | "revocations";

/** One row a topic: its version grows with every committed change. */
export interface ChangesTable {
	topic: ChangeTopic;
	version: number;
	/** When the newest version was announced: epoch milliseconds of the store's clock, for the measured lag alone. */
	announced_ms: number | null;
}

/** The servers that run on this store, as they report themselves every few seconds. */
export interface ReplicasTable {
	id: string;
	/** The store's time of its last report. */
	seen_at: number;
	/** Since when it has reported without a gap. */
	since_at: number;
	/** The ids of the keys it has loaded, separated by spaces. */
	kids: string;
}

/** Every table by its name. */
export interface Schema {
	users: UsersTable;
	deleted_users: DeletedUsersTable;
	roles: RolesTable;
	role_permissions: RolePermissionsTable;
	user_roles: UserRolesTable;
	signing_keys: SigningKeysTable;
	sessions: SessionsTable;
	revocations: RevocationsTable;
	cutoffs: CutoffsTable;
	chores: ChoresTable;
	login_tries: LoginTriesTable;
	changes: ChangesTable;
	replicas: ReplicasTable;
	security_events: SecurityEventsTable;
}
