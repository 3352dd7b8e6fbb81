/** The headers of every answer, also of those that the router or the HTTP parser gives. */
import { randomUUID } from "node:crypto";

/** One constant block fit for an API (ASVS 3.4, 14.3.2). Routes whose answer may be kept say so themselves. */
export const standardHeaders: Readonly<Record<string, string>> = Object.freeze({
	"cache-control": "no-store",
	"content-security-policy": "default-src 'none'; frame-ancestors 'none'",
	"cross-origin-resource-policy": "same-origin",
	"referrer-policy": "no-referrer",
	"strict-transport-security": "max-age=31536000",
	"x-content-type-options": "nosniff",
});

/** The caller's request id where it is short and plain, else a new one: it goes into the log and into an answer. */
export function requestId(given: string | string[] | undefined): string {
	return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}
