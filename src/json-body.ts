/** What JSON.parse lets through and a login must not: the same member twice, of which two parsers may see different ones. */
import { errors } from "./errors.ts";

/**
 * Refuses JSON in which an object names a member twice (RFC 8259 section 4 leaves the outcome open). Expects text that
 * JSON.parse accepts.
 *
 * @throws VALIDATION_FAILED
 */
export function assertUniqueMembers(json: string): void {
	/** The members seen so far in each object that is open; a list is open with none. */
	const open: (Set<string> | undefined)[] = [];
	for (const [token, , colon] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
		if (token === "{") open.push(new Set());
		else if (token === "[") open.push(undefined);
		else if (token === "}" || token === "]") open.pop();
		else if (colon !== undefined) {
			// Decoded, because "\u0061" and "a" are one name.
			const name = JSON.parse(token.slice(0, -colon.length)) as string;
			const members = open.at(-1);
			if (members?.has(name)) throw new errors.VALIDATION_FAILED("a JSON member is given twice");
			members?.add(name);
		}
	}
}
