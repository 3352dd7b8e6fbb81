/** The memory of verified tokens: a token that comes again is known again, and its signature is not checked again. */
import { LRUCache } from "lru-cache";
import type { Principal } from "./principal.ts";

/** How many verified tokens are remembered, and their bytes; the least recently used one makes room. */
const mostVerifiedTokens = 25_000;
const mostVerifiedBytes = 40_000_000;

/** A token, and who it names. */
interface Verified {
	readonly token: string;
	readonly principal: Principal;
}

/** An entry has the token's text and, as objects, what that says: together about twice its length, as measured. */
const bytesOf = ({ token }: Verified) => 2 * token.length;

/** The last letter of a signature has fewer bits than the others, so it is left out. */
const fingerprintLetters = 6;

/**
 * 32 bits of a token, out of its signature. The key is a number because a Map takes a string into V8's table of all strings
 * before it looks for it, which takes longer than comparing it.
 */
function fingerprint(token: string): number {
	const end = token.length - 1;
	let bits = 0;
	for (let at = end - fingerprintLetters; at < end; at++) bits = (bits << 6) ^ token.charCodeAt(at);
	return bits;
}

/**
 * Builds it, empty. Only verified tokens may enter, and a token is found by its whole text: so nobody can plant an entry or
 * be taken for somebody else.
 */
export function createVerifiedTokens() {
	const entries = new LRUCache<number, Verified>({
		max: mostVerifiedTokens,
		maxSize: mostVerifiedBytes,
		sizeCalculation: bytesOf,
	});

	/** Where a token is, or would be: where another one has its number, the next number is its. */
	function placeOf(token: string): number {
		let place = fingerprint(token);
		for (let entry = entries.peek(place); entry && entry.token !== token; entry = entries.peek(place)) place++;
		return place;
	}

	return {
		/** Who a token names that was verified before. */
		get(token: string): Principal | undefined {
			const entry = entries.get(fingerprint(token));
			if (entry === undefined || entry.token === token) return entry?.principal;
			return entries.get(placeOf(token))?.principal;
		},

		set(token: string, principal: Principal): void {
			// A copy of the text: a piece of a header would keep the header, and to compare it takes one look further away.
			entries.set(placeOf(token), { token: structuredClone(token), principal });
		},

		delete: (token: string): void => void entries.delete(placeOf(token)),

		clear: (): void => entries.clear(),
	};
}
