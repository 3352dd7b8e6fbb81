/** How the text of a setting becomes a value, and what is refused. */
import { BlockList, isIP } from "node:net";

/** A value that is not acceptable. The message continues the setting's name and never repeats the value. */
export class Refusal extends Error {}

/** Any text without control characters. */
export const text = (value: string): string => {
	if (/\p{Cc}/u.test(value)) throw new Refusal("must not hold control characters");
	return value;
};

/** A whole number between two bounds, both allowed. */
export const integer =
	(least: number, most: number) =>
	(value: string): number => {
		const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
		if (!(number >= least && number <= most)) throw new Refusal(`must be a whole number from ${least} to ${most}`);
		return number;
	};

/** A number from 0 to 1, such as 0.05. */
export const share = (value: string): number => {
	const number = /^\d{1,9}(\.\d{1,9})?$/.test(value) ? Number(value) : Number.NaN;
	if (!(number >= 0 && number <= 1)) throw new Refusal("must be a number from 0 to 1");
	return number;
};

/** One of a few words. */
export const oneOf =
	<const Word extends string>(...words: Word[]) =>
	(value: string): Word => {
		const word = words.find((candidate) => candidate === value);
		if (word === undefined) throw new Refusal(`must be one of ${words.join(", ")}`);
		return word;
	};

/** At least one of a few words, separated by commas. */
export const someOf =
	<const Word extends string>(...words: Word[]) =>
	(value: string): readonly Word[] => {
		const items = list(value).map(oneOf(...words));
		if (items.length === 0) throw new Refusal(`must name at least one of ${words.join(", ")}`);
		return [...new Set(items)];
	};

/** `on` or `off`. */
export const onOff = (value: string): boolean => oneOf("on", "off")(value) === "on";

/** A short text that every token will carry. */
export const claim = (value: string): string => {
	if (value.length > 256) throw new Refusal("must not be longer than 256 characters");
	return text(value);
};

/** A short list of those: tokens must stay small enough for a header. */
export const claims = (value: string): readonly string[] => {
	const items = list(value);
	if (items.length > 16) throw new Refusal("must not have more than 16 entries");
	return items.map(claim);
};

/** A list separated by commas. */
export const list = (value: string): readonly string[] =>
	value
		.split(",")
		.map((item) => text(item.trim()))
		.filter((item) => item !== "");

/** An issuer identifier (RFC 8414 section 2), compared letter by letter, so in its one canonical spelling. */
export const issuer = (value: string): string => {
	const url = URL.parse(claim(value));
	if (!url || !/^https?:$/.test(url.protocol)) throw new Refusal("must be an http or https address");
	const path = url.pathname === "/" ? "" : url.pathname;
	// The path is a route's as well (RFC 8414 section 3.1): nothing that a router reads as more than a letter.
	if (value !== url.origin + path || !/^(\/[\w.~-]+)*$/.test(path))
		throw new Refusal(
			"must be written plainly: scheme, host in lower case and path of letters, digits and any of . _ ~ -, without user, query, fragment or final slash",
		);
	return value;
};

/** Parameters of a PostgreSQL address that do not undo what this service sets itself: its limits, host and port. */
const postgresParameters = /^(sslmode|sslrootcert|sslcert|sslkey|sslnegotiation|uselibpqcompat|application_name)$/;

/** Where a collector of traces is: the path of the traces comes behind it. */
export const collectorUrl = (value: string): string => {
	const url = URL.parse(text(value));
	if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
		throw new Refusal("must be an http or https address without user, query and fragment");
	return value;
};

/** Where PostgreSQL is. */
export const postgresUrl = (value: string): string => {
	const url = URL.parse(value);
	if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.hostname === "")
		throw new Refusal("must begin with postgres:// and be a valid address with a host");
	const strange = [...url.searchParams.keys()].some((name) => !postgresParameters.test(name));
	if (strange) throw new Refusal("takes no parameters but the ssl ones and application_name");
	return value;
};

/** Where notifications come from, or `off`. */
export const listenUrl = (value: string): string => (value === "off" ? value : postgresUrl(value));

/**
 * A secret worth the name. Length stands in for entropy, which no program can measure; what people paste from
 * examples is refused by its words.
 */
export const secret = (value: string): string => {
	const remedy = "make one with: openssl rand -base64 32";
	if (Buffer.byteLength(value) < 32) throw new Refusal(`is shorter than 32 bytes; ${remedy}`);
	if (
		/change.?me|example|placeholder|replace|your.?(own.?)?(super.?)?secret|secret.?key|password|default|s3cr3t|0123456789|abcdefgh/i.test(
			value,
		) ||
		new Set(value).size < 10
	)
		throw new Refusal(`looks like an example; ${remedy}`);
	return value;
};

/** IP addresses and CIDR blocks. `true`, hop counts and blocks of every address would believe anyone. */
export const addresses = (value: string): readonly string[] =>
	list(value).map((item) => {
		const [address = "", prefix, ...rest] = item.split("/");
		const family = isIP(address);
		const bits = prefix === undefined ? undefined : Number(prefix);
		const whole = bits === undefined || /^\d{1,3}$/.test(prefix as string);
		if (family === 0 || rest.length > 0 || !whole)
			throw new Refusal(
				"takes only IP addresses and CIDR blocks (10.0.0.0/8), because true or a number of hops would believe anyone",
			);
		if (bits !== undefined && (bits > (family === 4 ? 32 : 128) || holdsEveryIpv4Address(address, bits)))
			throw new Refusal("has a block that holds every address, or none");
		return item;
	});

/** An IPv6 block does so too, where it holds `::ffff:0:0/96`, the form in which IPv4 addresses are compared with it. */
function holdsEveryIpv4Address(address: string, bits: number): boolean {
	const family = isIP(address) === 4 ? "ipv4" : "ipv6";
	const [first, last] = family === "ipv4" ? ["0.0.0.0", "255.255.255.255"] : ["::ffff:0:0", "::ffff:ffff:ffff"];
	const block = new BlockList();
	block.addSubnet(address, bits, family);
	return block.check(first as string, family) && block.check(last as string, family);
}

/** Web origins (RFC 6454): scheme and host, nothing behind. */
export const origins = (value: string): readonly string[] =>
	list(value).map((item) => {
		if (URL.parse(item)?.origin !== item) throw new Refusal("takes origins such as https://app.example.com");
		return item;
	});

/** Host names, each alone or with a leading dot for every host under it. No port, no path: the answer is always https. */
export const hosts = (value: string): readonly string[] =>
	list(value).map((item) => {
		const name = item.replace(/^\./, "");
		const isName = /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(name) && URL.parse(`https://${name}`)?.host === name;
		if (!isName) throw new Refusal("takes host names in lower case such as app.example.com or .example.com");
		return item;
	});
