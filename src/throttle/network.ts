/** Pure: the part of a client's address that failures are counted under. */
import { isIP } from "node:net";

/**
 * One text for everything that one customer of a network can choose freely: an IPv4 address as it is, of an IPv6 address
 * the first 64 bits, an IPv4 address in IPv6 clothes (`::ffff:1.2.3.4`) as the IPv4 address. What is no address, as a
 * trusted proxy could pass on, is all one: else every new text would be a new allowance.
 */
export function networkOf(address: string): string {
	const plain = plainAddress(address);
	const family = isIP(plain);
	if (family === 4) return plain;
	if (family === 0) return "unknown";
	const groups = groupsOf(plain);
	const [high = 0, low = 0] = groups.slice(6);
	const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
	if (isMapped) return [high >> 8, high & 255, low >> 8, low & 255].join(".");
	return `${groups
		.slice(0, 4)
		.map((group) => group.toString(16))
		.join(":")}::/64`;
}

/** An address without what proxies add to it: a port, the brackets before one, a zone. Not always one: a proxy can pass on any text. */
export function plainAddress(text: string): string {
	const [, bracketed, beforePort] = /^(?:\[([^\]]*)\](?::\d+)?|([^:]*):\d+)$/.exec(text) ?? [];
	return (bracketed ?? beforePort ?? text).split("%", 1)[0] ?? "";
}

/** The eight groups of an IPv6 address, however it is written (RFC 4291 section 2.2). */
function groupsOf(address: string): number[] {
	// The URL parser writes it in one way: lower case, no dotted decimals, the longest run of zeros left out.
	const written = new URL(`http://[${address}]`).hostname.slice(1, -1);
	const [before = [], after = []] = written.split("::").map((part) => part.split(":").filter(Boolean));
	const zeros = Array<string>(8 - before.length - after.length).fill("0");
	return [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16));
}
