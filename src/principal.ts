/** Who a verified token stands for, and how long one can live: what those who refuse tokens have to know of them. */
import type { ExtraClaims } from "./extend.ts";

/** Seconds by which the clocks of two machines may differ (RFC 7519 section 4.1.4). A constant, not a setting. */
export const toleranceSeconds = 30;
/** The upper end of ACCESS_TOKEN_SECONDS, with the tolerance: no token lives longer. */
export const longestTokenSeconds = 86_400 + toleranceSeconds;
/** By how much the clock of a replica that issues tokens may be ahead of the store's. */
export const clockMarginSeconds = 300;

/** Who sent a request, as its verified token says. Frozen, because requests with the same token share it. */
export interface Principal {
	/** Which kind of token it was; a refresh token carries no roles and no permissions. */
	readonly kind: "access" | "refresh";
	/** The account: `sub`. */
	readonly id: string;
	readonly sessionId: string;
	readonly tokenId: string;
	readonly clientId: string;
	readonly roles: readonly string[];
	readonly permissions: readonly string[];
	/** What `app.addClaims` added. Tokens made before a plugin was added lack its claims, and refresh tokens carry none. */
	readonly claims: Readonly<Partial<ExtraClaims>>;
	/** Whether the password was given for this very token. */
	readonly fresh: boolean;
	/** When the password was last given, in epoch seconds. */
	readonly authenticatedAt: number;
	/** Epoch seconds. */
	readonly issuedAt: number;
	/** Epoch seconds. */
	readonly expiresAt: number;
}
