/** Whose word counts: the proxies that TRUST_PROXY names. */
import { BlockList, isIPv6 } from "node:net";

/**
 * Says of a peer's address whether it is one of these proxies. An IPv4 address is also known in the form in which a
 * socket for both families shows it (`::ffff:10.0.0.1`).
 *
 * @param proxies IP addresses and CIDR blocks.
 */
export function createTrust(proxies: readonly string[]): (address: string | undefined) => boolean {
	if (proxies.length === 0) return () => false;
	const trusted = new BlockList();
	for (const proxy of proxies) {
		const [address = "", bits] = proxy.split("/");
		const family = isIPv6(address) ? "ipv6" : "ipv4";
		if (bits === undefined) trusted.addAddress(address, family);
		else trusted.addSubnet(address, Number(bits), family);
	}
	return (address) => address !== undefined && trusted.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}
