/**
 * Signatures, against the verifier that serves requests: the tokens of Wycheproof under their own keys, then tokens of
 * ours with each of their mutations. The former seldom hold JSON, so most of them never reach the signature (see
 * derived/wycheproof-notes.json beside the vectors); the latter are good in all but the signature.
 */
import { createHash, createPrivateKey, createPublicKey, privateEncrypt, publicDecrypt, sign } from "node:crypto";
import t from "tap";
import type { VerificationKey } from "../../src/keys/key-pair.ts";
import { assertStrong } from "../../src/keys/strength.ts";
import { type TestApp, testApp } from "../support/app.ts";
import { encode, expectAccepted, refusalFault, segments } from "../support/forgery.ts";
import { type Jwk, keysOf, skipWithoutVectors, vectors } from "../support/wycheproof.ts";

const skip = skipWithoutVectors;
/** What @fastify/jwt says of a signature, and of nothing else. */
const forItsSignature = /signature is invalid|Cannot verify the signature/;

/** A key of the vectors as the ring would hold it, or nothing where the ring refuses it. */
function ringKey(jwk: Jwk): VerificationKey | undefined {
	const algorithm = jwk.kty === "RSA" ? "RS256" : jwk.crv === "Ed25519" ? "EdDSA" : "ES256";
	try {
		const key = createPublicKey({ key: jwk, format: "jwk" });
		assertStrong(key, algorithm);
		const publicPem = key.export({ type: "spki", format: "pem" }) as string;
		return { kid: jwk.kid ?? "", algorithm, publicPem, jwk: {} };
	} catch {
		return undefined;
	}
}

for (const file of [
	"json_web_signature_test",
	"json_web_crypto_test",
	"json_web_key_test",
	"json_web_encryption_test",
]) {
	t.test(`T20: every negative vector of ${file} is refused under its own key`, { skip }, async (t) => {
		const house = await testApp(t);
		const claims = house.claims(await house.addUser("ada"));
		const find = house.services.keys.find;
		let planted: VerificationKey[] = [];
		house.services.keys.find = (kid) => planted.find((key) => key.kid === kid) ?? find(kid);
		const faults: string[] = [];
		let sent = 0;
		let underTheirKey = 0;
		for (const [group, { tcId, comment, result, jws, jwe }] of vectors(file)) {
			const keys = keysOf(group).filter(({ kid }) => kid);
			planted = keys.flatMap((jwk) => ringKey(jwk) ?? []);
			const token = jws ?? jwe;
			// A JWE is refused whether it is a good one or not.
			if (result !== "invalid" && !jwe) continue;
			const text = typeof token === "string" ? token : JSON.stringify(token);
			const fault = await refusalFault(house, "/protected", text);
			if (fault) faults.push(`${tcId} ${comment}: ${fault}`);
			sent++;
			if (planted.length > 0) underTheirKey++;
			if (tcId !== group.tests[0]?.tcId && comment !== "rejectsModifiedSignature") continue;
			// The control: with the same key, a token of our form does get in. Otherwise the refusals above say little.
			for (const jwk of keys.filter(({ d, kid }) => d && planted.some((key) => key.kid === kid)))
				await expectAccepted(t, house, signedBy(jwk, claims), claims.sub, `the key ${jwk.kid} of ${tcId} verifies`);
		}
		t.comment(`${sent} vectors, ${underTheirKey} of them with their key in the ring`);
		t.ok(sent > 0);
		t.same(faults, []);
	});
}

/** A good token under a key of the vectors. */
function signedBy(jwk: Jwk, claims: object): string {
	const input = `${encode({ alg: jwk.kty === "RSA" ? "RS256" : "ES256", typ: "at+jwt", kid: jwk.kid })}.${encode(claims)}`;
	const key = { key: createPrivateKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" as const };
	return `${input}.${sign("sha256", Buffer.from(input), key).toString("base64url")}`;
}

type Mutations = [label: string, signature: Buffer][];

/** A service with one algorithm, a good token of it, and its parts. */
async function signing(t: Parameters<typeof testApp>[0], algorithm: string) {
	const house = await testApp(t, { settings: { SIGNING_ALGORITHM: algorithm } });
	const claims = house.claims(await house.addUser("ada"));
	const token = house.mint(claims);
	const [header, payload, signature] = segments(token);
	return { house, claims, token, input: `${header}.${payload}`, signature: Buffer.from(signature, "base64url") };
}

/** Each mutation must be refused for its signature, and the unmutated token be accepted before and after. */
async function attack(
	t: Parameters<typeof testApp>[0],
	parts: Awaited<ReturnType<typeof signing>>,
	mutations: Mutations,
) {
	const { house, claims, token, input } = parts;
	await expectAccepted(t, house, token, claims.sub, "the unmutated token");
	const faults: string[] = [];
	for (const [label, signature] of mutations) {
		const mutated = `${input}.${signature.toString("base64url")}`;
		const fault = await refusalFault(house, "/protected", mutated, forItsSignature);
		if (fault) faults.push(`${label}: ${fault}`);
	}
	t.same(faults, []);
	await expectAccepted(t, house, token, claims.sub, "the unmutated token, after all of them");
	t.comment(`${mutations.length} mutations`);
}

/** What can be done to the bytes of any signature. */
const onBytes = (signature: Buffer): Mutations => [
	...[...signature].map((byte, index): [string, Buffer] => [
		`bit flipped in byte ${index}`,
		Buffer.from(signature.with(index, byte ^ (1 << (index % 8)))),
	]),
	...[1, 2, 4, signature.length / 2, signature.length - 1].map((count): [string, Buffer] => [
		`cut by ${count} bytes`,
		signature.subarray(0, -count),
	]),
	["without its first byte", signature.subarray(1)],
	["a zero in front", Buffer.concat([Buffer.alloc(1), signature])],
	["a zero behind", Buffer.concat([signature, Buffer.alloc(1)])],
	["32 zeros behind", Buffer.concat([signature, Buffer.alloc(32)])],
	["twice", Buffer.concat([signature, signature])],
	["reversed", Buffer.from(signature).reverse()],
	["zeros", Buffer.alloc(signature.length)],
	["all ones", Buffer.alloc(signature.length, 0xff)],
	["its own base64url", Buffer.from(signature.toString("base64url"))],
];

/** The signatures of all negative vectors, as they are; none where the folder is absent. */
const literal = (file: string): Mutations =>
	(skip ? [] : vectors(file)).flatMap(([, { tcId, comment, result, sig }]) =>
		// An empty one is the business of T04: it is refused before any signature is looked at.
		result === "invalid" && sig ? [[`${tcId} ${comment}`, Buffer.from(sig, "hex")] as [string, Buffer]] : [],
	);

const integer = (bytes: Buffer) => BigInt(`0x${bytes.toString("hex")}`);
const bytesOf = (value: bigint, length: number) => {
	const hex = value.toString(16);
	return Buffer.from(hex.padStart(Math.max(2 * length, hex.length + (hex.length % 2)), "0"), "hex");
};

t.test("T20, T21: an ES256 token of ours is refused with every mutation of its signature", async (t) => {
	const parts = await signing(t, "ES256");
	const { house, claims, input, signature } = parts;
	const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
	const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
	const r = integer(signature.subarray(0, 32));
	const s = integer(signature.subarray(32));
	const pair = (left: bigint, right: bigint, length = 32) =>
		Buffer.concat([bytesOf(left, length), bytesOf(right, length)]);
	const edges = { 0: 0n, 1: 1n, "n-1": n - 1n, n, "n+1": n + 1n, p, "p+1": p + 1n, "2^256-1": 2n ** 256n - 1n };
	const special = Object.entries({ ...edges, r }).flatMap(([left, a]) =>
		Object.entries({ ...edges, s })
			.filter(([right]) => left !== "r" || right !== "s")
			.map(([right, b]): [string, Buffer] => [`r=${left} s=${right}`, pair(a, b)]),
	);
	const der = (left: Buffer, right: Buffer) => {
		const body = [left, right].flatMap((part) => [2, part.length, ...part]);
		return Buffer.from([0x30, body.length, ...body]);
	};
	const positive = (value: bigint) => Buffer.concat([Buffer.alloc(1), bytesOf(value, 32)]);
	await attack(t, parts, [
		...onBytes(signature),
		...special,
		["n-r", pair(n - r, s)],
		["n-r, n-s", pair(n - r, n - s)],
		["swapped", pair(s, r)],
		...[1n, 256n].map((times): [string, Buffer] => [`r + ${times}n`, pair(r + times * n, s, 34)]),
		...[1n, 256n].map((times): [string, Buffer] => [`s + ${times}n`, pair(r, s + times * n, 34)]),
		["33 bytes a number", pair(r, s, 33)],
		["48 bytes a number, as for P-384", pair(r, s, 48)],
		["DER", der(positive(r), positive(s))],
		["DER, with numbers that read as negative", der(bytesOf(r, 32), bytesOf(s, 32))],
		...literal("ecdsa_secp256r1_sha256_p1363_test"),
	]);
	// s and n-s are one signature in ECDSA, and no check forbids the second text: revocation goes by jti (T22).
	const twin = `${input}.${pair(r, n - s).toString("base64url")}`;
	await expectAccepted(t, house, twin, claims.sub, "n-s: the same token in another text");
});

t.test("T20: an EdDSA token of ours is refused with every mutation of its signature", async (t) => {
	const parts = await signing(t, "EdDSA");
	const { signature } = parts;
	const order = 2n ** 252n + 27742317777372353535851937790883648493n;
	const s = integer(Buffer.from(signature.subarray(32)).reverse());
	const withS = (value: bigint) => Buffer.concat([signature.subarray(0, 32), bytesOf(value, 32).reverse()]);
	await attack(t, parts, [
		...onBytes(signature),
		...[1n, 2n, 4n, 8n].map((times): [string, Buffer] => [`S + ${times}L`, withS(s + times * order)]),
		...[0n, 1n, order - s, order, 2n ** 256n - 1n].map((value): [string, Buffer] => [`S = ${value}`, withS(value)]),
		["R and S swapped", Buffer.concat([signature.subarray(32), signature.subarray(0, 32)])],
		["R zero", Buffer.concat([Buffer.alloc(32), signature.subarray(32)])],
		...literal("ed25519_test"),
	]);
});

t.test("T20: an RS256 token of ours is refused with every padding of the vectors", { skip }, async (t) => {
	const file = "rsa_signature_3072_sha256_test";
	const parts = await signing(t, "RS256");
	const { house, claims, input, signature } = parts;
	const again: Mutations = vectors(file).flatMap(([group, vector]) => {
		const forged = vector.result === "invalid" ? repadded(house, group.publicKeyPem ?? "", vector, input) : undefined;
		return forged ? [[`${vector.tcId} ${vector.comment}, for our token`, forged] as [string, Buffer]] : [];
	});
	t.ok(again.length > 200, `${again.length} paddings were made again`);
	const n = integer(Buffer.from(house.services.keys.signing().jwk.n ?? "", "base64url"));
	const number = integer(signature);
	await attack(t, parts, [
		...onBytes(signature),
		...again,
		...literal(file),
		["signature + n", bytesOf(number + n, 385)],
		["n - signature", bytesOf(n - number, 384)],
		...[1n, n - 1n, n, n + 1n].map((value): [string, Buffer] => [
			`the number ${value === 1n ? 1 : "about n"}`,
			bytesOf(value, 384),
		]),
	]);
	// The control of `repadded`: made again in the same way, the padding of the good vectors is accepted.
	const good = vectors(file).filter(([, { result, flags }]) => result === "valid" && !flags.includes("SmallPublicKey"));
	for (const [group, vector] of good) {
		const forged = repadded(house, group.publicKeyPem ?? "", vector, input) as Buffer;
		await expectAccepted(t, house, `${input}.${forged.toString("base64url")}`, claims.sub, `${vector.tcId}, valid`);
	}
});

/** The vector's padding, with the digest of our token in the place of the digest of its message, signed with our key. */
function repadded(
	{ services }: TestApp,
	publicPem: string,
	{ msg = "", sig = "" }: { msg?: string; sig?: string },
	input: string,
) {
	const raw = { padding: 3 /* RSA_NO_PADDING */ };
	try {
		let block = publicDecrypt({ key: publicPem, ...raw }, Buffer.from(sig, "hex"));
		for (const name of ["sha256", "sha1", "sha224", "sha384", "sha512", "md5", "ripemd160", "sha512-256"]) {
			const digest = (text: Buffer | string) => createHash(name).update(text).digest();
			const at = block.indexOf(digest(Buffer.from(msg, "hex")));
			if (at >= 0)
				block = Buffer.concat([block.subarray(0, at), digest(input), block.subarray(at + digest("").length)]);
		}
		return privateEncrypt({ key: services.keys.signing().privatePem, ...raw }, block);
	} catch {
		// A number that is no block at all: it is tried as it stands, with the literal ones.
		return undefined;
	}
}
