/** What an attacker does to tokens, and what every refusal of one must look like. */
import { createHmac, sign } from "node:crypto";
import type { Test } from "tap";
import { type TestApp, type TestAppOptions, testApp } from "./app.ts";

/** A service, an account in it, its id, and what a good token of it says. */
export async function withAccount(t: Test, settings: Record<string, string> = {}, options: TestAppOptions = {}) {
	const built = await testApp(t, { settings, ...options });
	const id = await built.addUser("ada");
	return Object.assign(built, { id, good: built.claims(id) });
}

/** The doors that take a token with GET. */
export const doors = ["/protected", "/me"] as const;

/** One segment of a token. */
export const encode = (value: unknown): string =>
	Buffer.from(Buffer.isBuffer(value) || typeof value === "string" ? value : JSON.stringify(value)).toString(
		"base64url",
	);

/** A token as its three segments. */
export const segments = (token: string) => token.split(".") as [header: string, payload: string, signature: string];

/** The JSON that a segment holds. */
export const decode = (segment: string) =>
	JSON.parse(Buffer.from(segment, "base64url").toString()) as Record<string, unknown>;

/** A token whose "signature" is an HMAC under whatever the attacker takes for the secret. */
export function hmacToken(bits: 256 | 384 | 512, header: object, claims: object, secret: Buffer | string): string {
	const input = `${encode({ alg: `HS${bits}`, typ: "at+jwt", ...header })}.${encode(claims)}`;
	return `${input}.${createHmac(`sha${bits}`, secret).update(input).digest("base64url")}`;
}

/** A token signed with a P-256 key of the attacker's own. */
export function foreignToken(header: object, claims: object, privatePem: string): string {
	const input = `${encode({ alg: "ES256", typ: "at+jwt", ...header })}.${encode(claims)}`;
	const signature = sign("sha256", Buffer.from(input), { key: privatePem, dsaEncoding: "ieee-p1363" });
	return `${input}.${signature.toString("base64url")}`;
}

/** Signs a header as it is written, to the letter, with the service's own key (for P-256 only). */
export function signedHeader({ services }: TestApp, header: string, payload: string): string {
	const input = `${encode(header)}.${payload}`;
	const key = { key: services.keys.signing().privatePem, dsaEncoding: "ieee-p1363" as const };
	return `${input}.${sign("sha256", Buffer.from(input), key).toString("base64url")}`;
}

/** The one answer to any bad token (RFC 6750 section 3); its text says nothing of the reason. */
const refusal = JSON.stringify([
	401,
	'Bearer error="invalid_token"',
	"no-store",
	{ statusCode: 401, code: "INVALID_TOKEN", error: "Unauthorized", message: "The token is not valid" },
]);

/** What is wrong with the way in which a door refuses a token; nothing where it is as it must be. */
export async function refusalFault(
	{ get, rawLog }: TestApp,
	door: string,
	token: string,
	reason = /./,
): Promise<string | undefined> {
	const before = rawLog().length;
	const answer = await get(door, token);
	const { "www-authenticate": challenge, "cache-control": cache } = answer.headers;
	const actual = JSON.stringify([answer.statusCode, challenge, cache, answer.json()]);
	if (actual !== refusal) return `${door} answers ${actual}`;
	const lines = rawLog().slice(before);
	if (token.length > 100 && lines.includes(token.slice(-40))) return `${door} logs the token`;
	const given = /"reason":("(?:[^"\\]|\\.)*")/.exec(lines)?.[1] ?? '""';
	return reason.test(JSON.parse(given) as string) ? undefined : `${door} gives as its reason ${given}`;
}

/**
 * Sends a token to every door: each must refuse it.
 *
 * @param reason what the log must give as the reason, where the case is about one check and no other.
 */
export async function expectRefused(t: Test, house: TestApp, token: string, label: string, reason?: RegExp) {
	const faults = [];
	for (const door of doors) faults.push((await refusalFault(house, door, token, reason)) ?? "refused");
	t.same(faults, ["refused", "refused"], label);
}

/** Sends a token to /protected: it must be let in, and as this account. */
export async function expectAccepted(t: Test, { get }: TestApp, token: string, id: string, label: string) {
	const answer = await get("/protected", token);
	t.same(
		{ status: answer.statusCode, body: answer.json() },
		{ status: 200, body: { message: `Protected route for user: ${id}` } },
		`accepted: ${label}`,
	);
}
