/** The headers of every answer, also of those that the router or the HTTP parser gives. */
import { randomBytes } from "node:crypto";

/**
 * One constant block fit for an API (ASVS 3.4, 14.3.2). Routes whose answer may be kept say so themselves. Names in lower
 * case, as Fastify looks for them, and no `set-cookie`, of which there may be several.
 */
export const standardHeaders: Readonly<Record<string, string>> = Object.freeze({
	"cache-control": "no-store",
	"content-security-policy": "default-src 'none'; frame-ancestors 'none'",
	"cross-origin-resource-policy": "same-origin",
	"referrer-policy": "no-referrer",
	"strict-transport-security": "max-age=31536000",
	"x-content-type-options": "nosniff",
});

/** Tells the requests of this process from those of every other one. */
const processId = randomBytes(9).toString("base64url");
let requests = 0;

/** The proxy's request id where it is short and plain, else a new one: it goes into the log and into an answer. */
export function requestId(given: string | string[] | undefined): string {
	if (typeof given === "string" && /^[\w.-]{1,64}$/.test(given)) return given;
	requests += 1;
	return `${processId}-${requests.toString(36)}`;
}
