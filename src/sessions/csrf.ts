/**
 * The double-submit value: what a page repeats in a header or a hidden field, to show that it belongs to the session
 * whose cookies the browser sends. It is bound to the session by a MAC, so a cookie that another host planted is no help.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Builds the rule.
 *
 * @param keys 256 bits each; the first one makes values, all of them verify.
 */
export function createCsrf(keys: readonly [Buffer, ...Buffer[]]) {
	const valueUnder = (key: Buffer, sessionId: string) =>
		createHmac("sha256", key).update(sessionId).digest("base64url");
	return {
		/** The value of this session. */
		valueFor: (sessionId: string): string => valueUnder(keys[0], sessionId),

		/** Whether a value is the one of this session, in constant time. */
		matches: (sessionId: string, given: string): boolean =>
			keys.some((key) => {
				const expected = Buffer.from(valueUnder(key, sessionId));
				const value = Buffer.from(given);
				return value.length === expected.length && timingSafeEqual(value, expected);
			}),
	};
}
