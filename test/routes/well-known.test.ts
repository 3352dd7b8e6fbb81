/** The key set and the metadata: what other services build their trust on. */
import { calculateJwkThumbprint, createLocalJWKSet, type JSONWebKeySet, type JWK, jwtVerify } from "jose";
import t from "tap";
import { publishedSeconds } from "../../src/keys/life.ts";
import { type TestApp, testApp, usualStore } from "../support/app.ts";
import { expectAccepted } from "../support/forgery.ts";
import { ringTest } from "../support/rings.ts";

const url = "/.well-known/jwks.json";
/** What each kind of public key may show, beside kid, use and alg (RFC 7518 section 6, RFC 8037 section 2). */
const members: Record<string, { kty: string; crv?: string; numbers: string[] }> = {
	ES256: { kty: "EC", crv: "P-256", numbers: ["x", "y"] },
	RS256: { kty: "RSA", numbers: ["n", "e"] },
	EdDSA: { kty: "OKP", crv: "Ed25519", numbers: ["x"] },
};

t.test("T23, J01, J02, J03: the key set shows public members only, in every state of the ring", async (t) => {
	const { clock, start, pass, turn } = await ringTest(t, usualStore);
	const tokens: [token: string, id: string][] = [];

	/** Looks at the whole key set, and verifies every token so far, as another service does: by jose and this set alone. */
	async function check(house: TestApp, when: string, algorithms: string[]): Promise<void> {
		await house.services.changes.poll();
		const answer = await house.get(url);
		const { keys, ...rest } = answer.json<{ keys: JWK[] }>();
		t.same(rest, {}, `${when}: nothing beside the keys`);
		t.same(keys.map(({ alg }) => alg).sort(), [...algorithms].sort(), `${when}: these keys`);
		t.equal(new Set(keys.map(({ kid }) => kid)).size, keys.length, "J01: each kid once");
		t.ok(
			keys.some(({ kid }) => kid === house.services.keys.signing().kid),
			"also the one that signs",
		);
		for (const { kid, use, alg, kty, crv, ...numbers } of keys) {
			const expected = members[alg as string];
			t.same({ use, kty, crv }, { use: "sig", kty: expected?.kty, crv: expected?.crv }, `${alg} is bound to its kind`);
			t.same(Object.keys(numbers).sort(), [...(expected?.numbers ?? [])].sort(), `${alg}: these numbers and no others`);
			t.equal(kid, await calculateJwkThumbprint({ kty, ...(crv ? { crv } : {}), ...numbers } as JWK), "J02: RFC 7638");
		}
		t.notMatch(answer.payload, /"(d|p|q|dp|dq|qi|oth|k)":/, "no private member by any name");
		t.notMatch(answer.payload, /PRIVATE|sealed/);
		const keySet = createLocalJWKSet(answer.json<JSONWebKeySet>());
		for (const [token, sub] of tokens) {
			const options = { issuer: "http://localhost:3000", audience: "http://localhost:3000", typ: "at+jwt" };
			const verified = await jwtVerify(token, keySet, { ...options, currentDate: new Date(clock.now() * 1000) });
			t.equal(verified.payload.sub, sub, "jose verifies our token with it");
			await expectAccepted(t, house, token, sub, "so do we, also under an earlier key");
		}
	}

	let house: TestApp | undefined;
	const signed: string[] = [];
	for (const algorithm of Object.keys(members)) {
		house = await start({ SIGNING_ALGORITHM: algorithm });
		await check(house, `${algorithm} begins`, [...signed, algorithm]);
		await pass(publishedSeconds);
		await turn();
		await check(house, `${algorithm} signs`, [...signed, algorithm]);
		signed.push(algorithm);
		const id = await house.addUser(algorithm.toLowerCase());
		tokens.push([await house.app.signAccessToken(house.claims(id)), id]);
		await check(house, `${algorithm} has signed`, signed);
	}
	tokens.length = 0;
	await pass(86_400);
	await turn();
	if (house) await check(house, "the earlier ones are gone", signed.slice(-1));
});

t.test("J04: the key set may be kept for five minutes, and asked for again by its ETag", async (t) => {
	const { app, get, services } = await testApp(t);
	const first = await get(url);
	t.equal(first.statusCode, 200);
	t.match(first.headers, {
		"content-type": "application/jwk-set+json; charset=utf-8",
		"cache-control": "public, max-age=300",
		etag: /^"[\w-]{22}"$/,
	});
	const etag = first.headers.etag as string;
	t.equal((await get(url)).headers.etag, etag, "the same set has the same tag");
	for (const sent of [etag, `W/${etag}`, `"other", ${etag}`, `"other",W/${etag} , "more"`, "*"]) {
		const answer = await app.inject({ url, headers: { "if-none-match": sent } });
		t.same([answer.statusCode, answer.payload], [304, ""], `If-None-Match: ${sent}`);
		t.match(answer.headers, { etag, "cache-control": "public, max-age=300" }, "the tag and its life come along");
	}
	for (const sent of ['"other"', etag.slice(1, -1), "", `"${etag}"`, etag.toUpperCase()]) {
		const answer = await app.inject({ url, headers: { "if-none-match": sent } });
		t.equal(answer.statusCode, 200, `If-None-Match: ${sent}`);
		t.equal(answer.payload, first.payload);
	}
	const head = await app.inject({ method: "HEAD", url });
	t.same([head.statusCode, head.payload, head.headers.etag], [200, "", etag]);

	await services.rotation.rotate();
	await services.changes.poll();
	const changed = await app.inject({ url, headers: { "if-none-match": etag } });
	t.equal(changed.statusCode, 200, "another set has another tag");
	t.not(changed.headers.etag, etag);
});

t.test("J10: the key set is answered from memory while the store is gone", async (t) => {
	const { app, get, services } = await testApp(t);
	const before = await get(url);
	await services.store.close();
	t.equal(await services.store.now().catch(() => "gone"), "gone", "no question reaches the store any more");
	const answer = await get(url);
	t.same([answer.statusCode, answer.payload], [200, before.payload]);
	const again = await app.inject({ url, headers: { "if-none-match": before.headers.etag as string } });
	t.equal(again.statusCode, 304);
});

t.test("J09: the metadata tells the truth, and does not follow the Host header", async (t) => {
	const settings = { ISSUER: "https://login.example/tenant", DOCS: "on" };
	const { app, login, addUser, services } = await testApp(t, { settings });
	const document = "/.well-known/oauth-authorization-server";
	const plain = await app.inject({ url: document });
	t.match(plain.headers, { "content-type": "application/json; charset=utf-8", "cache-control": "public, max-age=300" });
	t.same(plain.json(), {
		issuer: "https://login.example/tenant",
		jwks_uri: "https://login.example/tenant/.well-known/jwks.json",
		revocation_endpoint: "https://login.example/tenant/revoke",
		revocation_endpoint_auth_methods_supported: ["none"],
		introspection_endpoint: "https://login.example/tenant/introspect",
		introspection_endpoint_auth_methods_supported: ["Bearer"],
		response_types_supported: [],
		grant_types_supported: [],
		service_documentation: "https://login.example/tenant/docs",
	});
	for (const headers of [
		{ host: "evil.example" },
		{ "x-forwarded-host": "evil.example", "x-forwarded-proto": "http" },
		{ forwarded: "host=evil.example;proto=http" },
		{ "x-forwarded-prefix": "/evil", "x-original-host": "evil.example" },
	])
		t.equal((await app.inject({ url: document, headers })).payload, plain.payload, JSON.stringify(headers));
	const uri = new URL(plain.json<{ jwks_uri: string }>().jwks_uri);
	const { keys } = (await app.inject({ url: uri.pathname.replace("/tenant", "") })).json<{ keys: JWK[] }>();
	t.equal(keys[0]?.kid, services.keys.signing().kid, "the keys are where it says");
	await addUser("ada");
	const [, payload = ""] = (await login("ada")).json<{ access_token: string }>().access_token.split(".");
	t.match(JSON.parse(Buffer.from(payload, "base64url").toString()), { iss: "https://login.example/tenant" });

	const bare = await testApp(t, { settings: { DOCS: "off", TOKEN_LOCATIONS: "cookie" } });
	t.same(
		Object.keys((await bare.get(document)).json()).sort(),
		[
			"grant_types_supported",
			"introspection_endpoint",
			"issuer",
			"jwks_uri",
			"response_types_supported",
			"revocation_endpoint",
			"revocation_endpoint_auth_methods_supported",
		],
		"no page, no address of it, no Bearer where only cookies count, and nothing of a server that this is not",
	);
});

t.test("the endpoints of the metadata are there, and take what it says", async (t) => {
	const { app, addUser, tokenFor, get } = await testApp(t);
	await addUser("ada", ["admin"]);
	const token = await tokenFor("ada");
	const metadata = (await get("/.well-known/oauth-authorization-server")).json<Record<string, string>>();
	for (const name of ["introspection_endpoint", "revocation_endpoint"]) {
		const { origin, pathname } = new URL(metadata[name] ?? "");
		t.equal(origin, metadata.issuer);
		const post = (headers: Record<string, string>) =>
			app.inject({
				method: "POST",
				url: pathname,
				headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
				payload: `token=${token}`,
			});
		t.equal((await post({ authorization: `Bearer ${token}` })).statusCode, 200, `${name}: a Bearer token`);
		const basic = Buffer.from("gatehouse:secret").toString("base64");
		t.equal((await post({ authorization: `Basic ${basic}` })).statusCode, 401, `${name}: no secret of a client`);
	}
});

t.test(
	"RFC 8414 section 3.1: where the issuer has a path, the metadata lies between host and path as well",
	async (t) => {
		const document = "/.well-known/oauth-authorization-server";
		const { app, get } = await testApp(t, { settings: { ISSUER: "https://login.example/t/our-own_1.0" } });
		const plain = await get(document);
		const inserted = await get(`${document}/t/our-own_1.0`);
		t.same([inserted.statusCode, inserted.payload], [200, plain.payload]);
		t.equal(inserted.headers["cache-control"], "public, max-age=300");
		t.equal((await app.inject({ method: "POST", url: `${document}/t/our-own_1.0` })).statusCode, 405);
		for (const other of ["/t", "/t/our-own_1x0", "/t/our-own_1.0/", "/t/our-own_1.0/more", "/"])
			t.equal((await get(`${document}${other}`)).statusCode, 404, `${other} is another issuer's`);
		const { paths } = (await get("/docs/json")).json<{ paths: object }>();
		t.same(
			Object.keys(paths).filter((path) => path.startsWith(document)),
			[document],
			"once in the OpenAPI document",
		);

		const bare = await testApp(t, { settings: { ISSUER: "https://login.example" } });
		t.equal((await bare.get(`${document}/`)).statusCode, 404, "no path, no second place");
	},
);

t.test("the key set and the metadata are for everybody, and for reading", async (t) => {
	const { app } = await testApp(t);
	for (const path of [url, "/.well-known/oauth-authorization-server"]) {
		const withGarbage = await app.inject({ url: path, headers: { authorization: "Bearer garbage" } });
		t.equal(withGarbage.statusCode, 200, "a bad token does not matter where none is asked for");
		for (const method of ["POST", "PUT", "DELETE", "PATCH"] as const)
			t.equal((await app.inject({ method, url: path })).statusCode, 405, `${method} ${path}`);
	}
});
