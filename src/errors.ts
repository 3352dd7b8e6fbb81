/**
 * The catalogue: every error a client can meet, with its code, its public message and its status.
 * What the client may know is here; what happened goes to the log through `cause`.
 */
import createError from "@fastify/error";

/** One error: what a client is told, and what the page says about it. */
export interface CatalogueEntry {
	statusCode: number;
	message: string;
	/** When it happens and what to do about it: one sentence for docs/errors.md. */
	doc: string;
	/** Seconds for the Retry-After header (RFC 9110 section 10.2.3). */
	retryAfter?: number;
	/** The error parameter of WWW-Authenticate (RFC 6750 section 3, RFC 9470 section 3); `bare` where no token came. */
	challenge?: "bare" | "invalid_token" | "insufficient_scope" | "insufficient_user_authentication";
}

/** Every code, in the order of its status. */
export const catalogue = {
	VALIDATION_FAILED: {
		statusCode: 400,
		message: "%s",
		doc: "The request does not fit the route's schema; the message names the field and the rule, never the value.",
	},
	MALFORMED_REQUEST: {
		statusCode: 400,
		message: "The request is malformed",
		doc: "The path, the body or the HTTP framing cannot be read: bad percent-encoding, bad JSON, bad UTF-8, two Host or Authorization headers.",
	},
	TWO_CREDENTIALS: {
		statusCode: 400,
		message: "Send one token, in one place: the Authorization header or the form",
		doc: "Two tokens came: one in the Authorization header and one in the form, both kinds in a form that takes either, or different ones for two guards of a route (RFC 6750 section 2).",
	},
	INVALID_USERNAME: {
		statusCode: 400,
		message: "A username is 1 to 64 letters, digits or any of . _ @ + -",
		doc: "The username can belong to no account, because it holds other characters or has the wrong length.",
	},
	INVALID_PASSWORD: {
		statusCode: 400,
		message: "A password is at most 1024 bytes of text without control characters",
		doc: "The password can belong to no account: it is empty, too long, or holds a control character or broken Unicode.",
	},
	WEAK_PASSWORD: {
		statusCode: 400,
		message: "%s",
		doc: "The new password is refused by the policy; the message is the reason, in words for the person who chose it.",
	},
	UNKNOWN_ROLE: {
		statusCode: 400,
		message: "No role has this name",
		doc: "One of the roles that were named does not exist.",
	},
	AUTHENTICATION_REQUIRED: {
		statusCode: 401,
		message: "A token is required",
		doc: "The route is protected and no token came with the request, or none of its kind where the route looks for one.",
		challenge: "bare",
	},
	INVALID_CREDENTIALS: {
		statusCode: 401,
		message: "Invalid credentials",
		doc: "Login refused. Unknown user, wrong password and disabled account answer alike, on purpose.",
		challenge: "bare",
	},
	INVALID_TOKEN: {
		statusCode: 401,
		message: "The token is not valid",
		doc: "The token is malformed, forged, expired, revoked, of the wrong kind, meant for another service, or its session or account has ended. The log knows which. Refresh, or log in again.",
		challenge: "invalid_token",
	},
	FRESH_TOKEN_REQUIRED: {
		statusCode: 401,
		message: "This needs your password again: POST /reauthenticate",
		doc: "The token is good, but the route asks for one for which the password was given, or was given recently. POST /reauthenticate gives one.",
		challenge: "insufficient_user_authentication",
	},
	INSUFFICIENT_PERMISSIONS: {
		statusCode: 403,
		message: "The access token does not carry the permission this route asks for",
		doc: "The token is good, the account lacks a permission that the route requires.",
		challenge: "insufficient_scope",
	},
	TOO_MANY_ROLES: {
		statusCode: 403,
		message: "The account has more roles and permissions than a token can hold",
		doc: "The access token would be over 8,192 letters and refused everywhere. An administrator has to take roles away from the account.",
	},
	INVALID_CURRENT_PASSWORD: {
		statusCode: 403,
		message: "The current password is wrong",
		doc: "Changing a password needs the current one. The token stays good.",
	},
	CROSS_ORIGIN_REFUSED: {
		statusCode: 403,
		message: "Requests from another origin, or with a cookie and no origin, are refused",
		doc: "The Sec-Fetch-Site or Origin header says that a page of another site sent the request; or neither came with a cookie that is to authorise it.",
	},
	CSRF_TOKEN_REQUIRED: {
		statusCode: 403,
		message: "With cookies this needs the header X-CSRF-Token, or the form field csrf_token",
		doc: "A token cookie came with a request that changes something, and the value of the cookie __Host-csrf was not repeated in the header or the field.",
	},
	CSRF_TOKEN_MISMATCH: {
		statusCode: 403,
		message: "The value in X-CSRF-Token or csrf_token belongs to another session",
		doc: "The value that was repeated is not the one of this session. Read the cookie __Host-csrf again; with a Bearer token beside cookies it is the csrf_token that came with the login of its session.",
	},
	NOT_FOUND: {
		statusCode: 404,
		message: "Nothing is here",
		doc: "No route has this path.",
	},
	METHOD_NOT_ALLOWED: {
		statusCode: 405,
		message: "This path does not take that method",
		doc: "The path exists with other methods; the Allow header lists them.",
	},
	USER_NOT_FOUND: {
		statusCode: 404,
		message: "No account has this username",
		doc: "The account that was named does not exist.",
	},
	SESSION_NOT_FOUND: {
		statusCode: 404,
		message: "There is no such session",
		doc: "The session that was named has ended, never was, or is another account's.",
	},
	KEY_NOT_FOUND: {
		statusCode: 404,
		message: "The key ring has no key with this id",
		doc: "The key that was named never was, or is gone already.",
	},
	REQUEST_TIMEOUT: {
		statusCode: 408,
		message: "The request came too slowly",
		doc: "The headers did not arrive within 10 seconds or the whole request within 15.",
	},
	USERNAME_TAKEN: {
		statusCode: 409,
		message: "The username is taken",
		doc: "Another account has this username, or one that reads the same after normalisation.",
	},
	LAST_ADMINISTRATOR: {
		statusCode: 409,
		message: "The last administrator stays",
		doc: "Disabling, deleting or demoting the only enabled account with the role admin would lock everybody out.",
	},
	PAYLOAD_TOO_LARGE: {
		statusCode: 413,
		message: "The request body is too large",
		doc: "The body is over 16 KiB or has more than 100 form fields.",
	},
	URI_TOO_LONG: {
		statusCode: 414,
		message: "The path is too long",
		doc: "A path parameter is over 100 characters.",
	},
	UNSUPPORTED_MEDIA_TYPE: {
		statusCode: 415,
		message: "The route does not take this Content-Type",
		doc: "Send one of the content types that the route names, in UTF-8.",
	},
	TOO_MANY_ATTEMPTS: {
		statusCode: 429,
		message: "Too many attempts, try again later",
		doc: "The account, the address or the password has been tried too often; Retry-After says when the next try is let through. Accounts that do not exist answer alike, on purpose.",
		// The least; each refusal says its own.
		retryAfter: 1,
	},
	HEADERS_TOO_LARGE: {
		statusCode: 431,
		message: "The request headers are too large",
		doc: "The headers are over 16 KiB, or more than 100.",
	},
	INTERNAL: {
		statusCode: 500,
		message: "Something went wrong",
		doc: "A fault of the service. The log has it under the answer's X-Request-Id.",
	},
	BUSY: {
		statusCode: 503,
		message: "Too many logins at once, try again soon",
		doc: "The password check would have to wait longer than HASH_MAX_WAIT_SECONDS.",
		retryAfter: 2,
	},
	OVERLOADED: {
		statusCode: 503,
		message: "The service has more to do than it can, try again soon",
		doc: "The process is overloaded: its event loop or its memory is at the limit. Refused before the body was read: logins and refreshes first, then the rest; probes, the key set and the check of a token never.",
		retryAfter: 5,
	},
	STARTING: {
		statusCode: 503,
		message: "The service is starting, try again soon",
		doc: "The process listens already, but migrates its store or loads its keys. /startupz and /readyz say so as well.",
		retryAfter: 2,
	},
	STORE_UNAVAILABLE: {
		statusCode: 503,
		message: "The service cannot reach its store, try again soon",
		doc: "The database did not answer in time or gave the request up for another one, or revocations are older than REVOCATION_MAX_STALENESS_SECONDS.",
		retryAfter: 2,
	},
	NO_SIGNING_KEY: {
		statusCode: 503,
		message: "This process cannot sign tokens now, try again soon",
		doc: "SECRET of this process does not open the key that is active in the store: it was not restarted with the others when SECRET changed. /readyz says so as well; another replica can answer.",
		retryAfter: 2,
	},
} as const satisfies Record<string, CatalogueEntry>;

/** A code of the catalogue. */
export type ErrorCode = keyof typeof catalogue;

type Constructors = {
	[Code in ErrorCode]: createError.FastifyErrorConstructor<{ code: Code; statusCode: number }, [...unknown[]]>;
};

/**
 * `throw new errors.INVALID_TOKEN({ cause })`: one constructor a code. Without a stack: nobody reads where a refusal was
 * thrown, and under a flood of them collecting it would be the dearest part of the answer. A fault has one in its cause.
 */
export const errors = Object.fromEntries(
	Object.entries(catalogue).map(([code, { message, statusCode }]) => [
		code,
		createError(code, message, statusCode, Error, false),
	]),
) as unknown as Constructors;
