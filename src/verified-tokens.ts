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

const fingerprintLetters = 6;

/**
 * About 30 bits of a token, out of its signature, whose last letter has fewer bits than the others and is left out. The
 * memory has numbers as its keys because a Map takes a string into V8's table of all strings before it looks for it, which
 * takes longer than comparing it.
 */
function fingerprint(token: string): number {
	const end = token.length - 1;
	let bits = 0;
	for (let at = end - fingerprintLetters; at < end; at++) bits = (bits << 6) ^ token.charCodeAt(at);
	return bits;
}

/**
 * Builds it, empty. Only verified tokens may enter, and one is known by its whole text: so nobody can plant an entry or be
 * taken for somebody else. Of two with the same fingerprint, which is rare, it knows the one that came last.
 */
export function createVerifiedTokens() {
	const entries = new LRUCache<number, Verified>({
		max: mostVerifiedTokens,
		maxSize: mostVerifiedBytes,
		sizeCalculation: bytesOf,
	});

	return {
		/** Who a token names that was verified before. */
		get(token: string): Principal | undefined {
			const entry = entries.get(fingerprint(token));
			return entry?.token === token ? entry.principal : undefined;
		},

		/** Remembers a verified token. */
		set(token: string, principal: Principal): void {
			// A copy: a piece of a header keeps the whole header in memory, and is slower to compare.
			entries.set(fingerprint(token), { token: structuredClone(token), principal });
		},

		/** Forgets a token that will not be good again. */
		delete(token: string): void {
			const place = fingerprint(token);
			if (entries.peek(place)?.token === token) entries.delete(place);
		},

		clear: (): void => entries.clear(),
	};
}
