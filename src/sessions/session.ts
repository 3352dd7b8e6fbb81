/** One session: what its row says, and who may see what of it. */

/** A session as its row has it. Times are epoch seconds. */
export interface Session {
	/** The `sid` of its tokens. */
	readonly id: string;
	readonly userId: string;
	/** How often it was refreshed. */
	readonly generation: number;
	readonly userAgent: string | null;
	readonly address: string;
	readonly createdAt: number;
	/** When the password was last given. */
	readonly authenticatedAt: number;
	readonly refreshedAt: number;
	/** The end by idleness. */
	readonly expiresAt: number;
	/** The end whatever happens. */
	readonly absoluteExpiresAt: number;
	/** Who ends it refuses its access tokens until then: none may live longer. */
	readonly accessUntil: number;
}

/** A session as its owner and administrators see it. Times are epoch seconds. */
export const shownSession = ({ id, userAgent, address, createdAt, refreshedAt, expiresAt }: Session) => ({
	id,
	device: userAgent,
	address,
	created_at: createdAt,
	last_used_at: refreshedAt,
	expires_at: expiresAt,
});

/** A session as it is read, whatever else is read with it. */
export const sessionColumns = [
	"sessions.id",
	"sessions.user_id as userId",
	"sessions.generation",
	"sessions.user_agent as userAgent",
	"sessions.address",
	"sessions.created_at as createdAt",
	"sessions.authenticated_at as authenticatedAt",
	"sessions.refreshed_at as refreshedAt",
	"sessions.expires_at as expiresAt",
	"sessions.absolute_expires_at as absoluteExpiresAt",
	"sessions.access_until as accessUntil",
] as const;

/** A session out of a row that has more. Field by field: a copy of the rest takes longer than all else that is done with a row. */
export const sessionOf = (row: Session): Session => ({
	id: row.id,
	userId: row.userId,
	generation: row.generation,
	userAgent: row.userAgent,
	address: row.address,
	createdAt: row.createdAt,
	authenticatedAt: row.authenticatedAt,
	refreshedAt: row.refreshedAt,
	expiresAt: row.expiresAt,
	absoluteExpiresAt: row.absoluteExpiresAt,
	accessUntil: row.accessUntil,
});
