/** Forged tokens: headers, keys and shapes that an attacker chooses. Claims are in test/src/tokens.test.ts. */
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, get as httpGet } from "node:http";
import type { AddressInfo } from "node:net";
import { calculateJwkThumbprint, exportJWK } from "jose";
import t from "tap";
import type { VerificationKey } from "../../src/keys/key-pair.ts";
import {
	decode,
	encode,
	expectAccepted,
	expectRefused,
	foreignToken,
	hmacToken,
	segments,
	withAccount,
} from "../support/forgery.ts";

/** One service for all tests but those of other algorithms: nothing here changes it. */
const house = await withAccount(t);

t.test("T01: alg none is refused in every spelling, with every signature", async (t) => {
	const token = house.mint(house.good);
	const [header, payload, signature] = segments(token);
	for (const alg of ["none", "None", "NONE", "nOnE", "none ", "", null, undefined, ["ES256"], ["none"], 0]) {
		const forged = encode({ ...decode(header), alg });
		const label = `alg ${JSON.stringify(alg)}`;
		await expectRefused(t, house, `${forged}.${payload}.`, `${label}, no signature`);
		await expectRefused(t, house, `${forged}.${payload}.${signature}`, `${label}, the original one`, /its alg is not/);
		await expectRefused(t, house, `${forged}.${payload}.${encode("garbage!")}`, `${label}, garbage`, /its alg is not/);
	}
	for (const alg of ["ES384", "ES512", "RS256", "PS256", "EdDSA", "es256", "ES256K"])
		await expectRefused(t, house, house.mint(decode(payload), { alg }), `alg ${alg}`, /its alg is not/);
	await expectAccepted(t, house, token, house.id, "the original, still");
});

/** Every text and every bytes by which somebody might know a public key. */
function publicForms({ publicPem, jwk }: VerificationKey, keySet: string): [name: string, secret: string | Buffer][] {
	const key = createPublicKey(publicPem);
	const bare = publicPem.trimEnd();
	const numbers = [jwk.n, jwk.e, jwk.x, jwk.y].flatMap((text) => (text ? [Buffer.from(text, "base64url")] : []));
	return [
		["the SPKI PEM", publicPem],
		["without the last newline", bare],
		["with one newline more", `${publicPem}\n`],
		["with CRLF", publicPem.replaceAll("\n", "\r\n")],
		["after a space", ` ${publicPem}`],
		["after a newline", `\n${publicPem}`],
		["after a byte order mark", `\ufeff${publicPem}`],
		["after a zero-width space", `\u200b${publicPem}`],
		["after a comment", `# our key\n${publicPem}`],
		["one line of base64", bare.split("\n").slice(1, -1).join("")],
		["DER", key.export({ type: "spki", format: "der" })],
		...(jwk.kty === "RSA"
			? ([
					["the PKCS1 PEM", key.export({ type: "pkcs1", format: "pem" })],
					["PKCS1 DER", key.export({ type: "pkcs1", format: "der" })],
				] as [string, string | Buffer][])
			: []),
		["the JWK", JSON.stringify(jwk)],
		["the JWK, indented", JSON.stringify(jwk, null, 2)],
		["the key set as we serve it", keySet],
		["the bare keys array", JSON.stringify(JSON.parse(keySet).keys)],
		...numbers.map((bytes, index): [string, Buffer] => [`its number ${index}`, bytes]),
		["all its numbers", Buffer.concat(numbers)],
		["its kid", jwk.kid as string],
	];
}

for (const algorithm of ["ES256", "RS256", "EdDSA"]) {
	t.test(`T02, T03: no form of the ${algorithm} public key, and no empty key, is an HMAC secret`, async (t) => {
		const house = await withAccount(t, { SIGNING_ALGORITHM: algorithm });
		const { id, good: claims } = house;
		const key = house.services.keys.signing();
		const keySet = (await house.get("/.well-known/jwks.json")).payload;
		for (const [name, secret] of publicForms(key, keySet))
			for (const bits of [256, 384, 512] as const)
				await expectRefused(t, house, hmacToken(bits, { kid: key.kid }, claims, secret), `HS${bits} with ${name}`);
		for (const [name, secret] of [
			["an empty key", ""],
			["a NUL byte", "\0"],
			["the word secret", "secret"],
		] as const)
			for (const kid of [key.kid, "unknown", undefined])
				for (const bits of [256, 384, 512] as const)
					await expectRefused(t, house, hmacToken(bits, { kid }, claims, secret), `HS${bits}, ${name}, kid ${kid}`);
		await expectAccepted(t, house, house.mint(claims), id, "our own signature");
	});
}

t.test("T04: a token without signature, without a part, or with one part too many is refused", async (t) => {
	const good = house.mint(house.good);
	const [h, p, s] = segments(good);
	const texts = ["", ".", "..", "...", "....", "no dots at all", `${h}.${p}`, `${h}`, `.${p}.${s}`, `${h}..${s}`];
	texts.push(`.${p}.`, `..${s}`, `${h}..`, `${h}.${p}.${s}.`, `.${good}`, `${good}.${s}`, `${good}.${p}.${s}`);
	// JWE has five parts; a token of ours in JSON serialization is none either.
	texts.push(`${encode({ alg: "dir", enc: "A256GCM", kid: decode(h).kid })}..${encode("123456789012")}.${p}.${s}`);
	texts.push(
		JSON.stringify({ protected: h, payload: p, signature: s }),
		`${h}.${p}.${s} `,
		` ${good}`,
		`${good},${good}`,
	);
	texts.push(
		`${good}=`,
		`${good}==`,
		`${h}=.${p}.${s}`,
		`${good}\n`,
		`${good}%00`,
		good.toUpperCase(),
		good.repeat(40),
	);
	for (const text of texts) await expectRefused(t, house, text, JSON.stringify(text.slice(0, 60)));
	await expectRefused(t, house, `${h}.${p}.`, "no signature", /Unsigned|missing|not three segments/);
	await expectAccepted(t, house, good, house.id, "the whole token");
});

t.test("T05: a token with any character changed is refused", async (t) => {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const good = house.mint(house.good);
	const accepted: string[] = [];
	let sent = 0;
	for (let at = 0; at < good.length; at++) {
		const value = alphabet.indexOf(good[at] as string);
		// The lowest bit (unused in some last characters), the highest one, and a character outside of the alphabet.
		for (const other of value < 0 ? ["", "A", "/"] : [alphabet[value ^ 1], alphabet[value ^ 32], "+"]) {
			const answer = await house.get("/protected", good.slice(0, at) + other + good.slice(at + 1));
			sent++;
			if (answer.statusCode !== 401) accepted.push(`${at}: ${other} gives ${answer.statusCode}`);
		}
	}
	t.ok(sent > 1500, `${sent} variants were sent`);
	t.same(accepted, []);
	await expectAccepted(t, house, good, house.id, "the token itself, after all of them");
});

t.test("T06: a key that the token brings along is ignored", async (t) => {
	const claims = house.good;
	const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const pem = own.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
	const jwk = await exportJWK(own.publicKey);
	const thumbprint = await calculateJwkThumbprint(jwk);
	const { kid } = house.services.keys.signing();
	for (const [name, header, reason] of [
		["jwk with our kid", { kid, jwk }, /signature is invalid/],
		["jwk that claims our kid", { kid, jwk: { ...jwk, kid, use: "sig", alg: "ES256" } }, /signature is invalid/],
		["jwk with its own kid", { kid: thumbprint, jwk: { ...jwk, kid: thumbprint } }, /its kid is not in the ring/],
		["jwk without kid", { jwk }, /its kid is not in the ring/],
		["our kid alone", { kid }, /signature is invalid/],
	] as const)
		await expectRefused(t, house, foreignToken(header, claims, pem), name, reason);
});

t.test("T07: no address in a token is ever asked for a key, nor for anything else", async (t) => {
	const claims = house.good;
	const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const pem = own.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
	const jwk = { ...(await exportJWK(own.publicKey)), kid: "bait", alg: "ES256", use: "sig" };
	let connections = 0;
	const bait = createServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] })));
	bait.on("connection", () => connections++).listen(0, "127.0.0.1");
	await once(bait, "listening");
	t.teardown(() => bait.close());
	const url = `http://127.0.0.1:${(bait.address() as AddressInfo).port}/jwks.json`;
	const { kid } = house.services.keys.signing();
	const x5c = [encode("certificate")];
	for (const address of [url, "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/"])
		for (const header of [{ jku: address }, { x5u: address }, { jku: address, x5u: address, x5c }, { kid: address }])
			for (const named of [{ kid, ...header }, { kid: "bait", ...header }, header])
				await expectRefused(t, house, foreignToken(named, claims, pem), JSON.stringify(named));
	await expectRefused(t, house, house.mint({ ...claims, iss: url }), "an issuer to be discovered", /iss is not/);
	await expectAccepted(
		t,
		house,
		house.mint(claims, { jku: url, x5u: url, x5c }),
		house.id,
		"our signature, jku unread",
	);
	// The control: a connection that is made does count, and whatever was under way came before it.
	await once(httpGet(url, { agent: false }), "response").then(([response]) => response.resume());
	t.equal(connections, 1, "only the control came");
});

t.test("T08: kid is compared and nothing else", async (t) => {
	const claims = house.good;
	const { kid } = house.services.keys.signing();
	const texts = [
		"../../dev/null",
		"/dev/null",
		"' OR 1=1--",
		"' UNION SELECT '1",
		"x;sleep 10",
		"|sleep 10",
		"$(sleep 10)",
	];
	texts.push(
		"__proto__",
		"constructor",
		"toString",
		"hasOwnProperty",
		"",
		" ",
		"0",
		"null",
		"undefined",
		"k".repeat(4096),
	);
	texts.push(
		`${kid} `,
		` ${kid}`,
		`${kid}\0`,
		kid.toLowerCase(),
		kid.slice(0, -1),
		`http://localhost/${kid}`,
		"%00",
		"\n",
	);
	const wrongTypes: unknown[] = [null, undefined, 0, 1, -1, true, [], [kid], {}, { toString: kid }, { [kid]: 1 }];
	for (const value of [...texts, ...wrongTypes]) {
		const label = `kid ${JSON.stringify(value)?.slice(0, 50)}`;
		await expectRefused(t, house, house.mint(claims, { kid: value }), label, /its kid is not in the ring/);
	}
	await expectRefused(t, house, house.mint(claims, { kid: "k".repeat(65_536) }), "kid of 64 KB", /too long/);
});

t.test("T16: headers that change the meaning of a token are refused, in every form", async (t) => {
	const claims = house.good;
	for (const crit of [["exp"], [], ["b64"], ["crit"], "x", "", 1, 0, false, null, {}, [1], ["exp", "exp"]]) {
		const forms = [{ crit }, { crit, exp: 1 }, { crit, b64: false }];
		for (const header of forms)
			await expectRefused(t, house, house.mint(claims, header), JSON.stringify(header), /holds crit/);
	}
	for (const b64 of [false, true, null]) await expectRefused(t, house, house.mint(claims, { b64 }), "b64", /holds b64/);
	for (const zip of ["DEF", "", null]) await expectRefused(t, house, house.mint(claims, { zip }), "zip", /holds zip/);
	for (const header of ["[]", "null", '"text"', "1", "{", "", `[{"alg":"ES256"}]`]) {
		const [, payload, signature] = segments(house.mint(claims));
		await expectRefused(t, house, `${encode(header)}.${payload}.${signature}`, `the header ${header}`);
	}
});
