/** Claims, through the front door: every token here is signed with the service's own key, so only its claims decide. */
import t from "tap";
import { decode, expectAccepted, expectRefused, segments, signedHeader, withAccount } from "../support/forgery.ts";

/** One service for all tests but that of other settings: nothing here changes it. */
const built = await withAccount(t);

t.test("B06: an access token carries typ at+jwt, and the documented claims only", async (t) => {
	const { id, tokenFor, clock, services } = built;
	const [header, payload] = segments(await tokenFor("ada")).map((segment, index) => (index < 2 ? decode(segment) : {}));
	t.same(header, { alg: "ES256", typ: "at+jwt", kid: services.keys.signing().kid });
	const { jti, sid, ...rest } = payload as Record<string, unknown>;
	const now = clock.now();
	t.same(rest, {
		iss: "http://localhost:3000",
		sub: id,
		aud: ["http://localhost:3000"],
		exp: now + 900,
		auth_time: now,
		nbf: now,
		iat: now,
		client_id: "gatehouse",
		type: "access",
		fresh: true,
		roles: ["user"],
		permissions: [],
	});
	for (const random of [jti, sid]) t.match(random, /^[\w-]{22}$/, "128 random bits");
	t.not(jti, sid);
	const again = decode(segments(await tokenFor("ada"))[1]);
	t.not(again.jti, jti, "each token has an id of its own");
	t.not(again.sid, sid, "each login begins a session of its own");
});

t.test("T11: a payload that is not an object of claims is refused", async (t) => {
	const text = JSON.stringify(built.good);
	const payloads = [
		`[${text}]`,
		"[]",
		'"x"',
		JSON.stringify(text),
		"1",
		"null",
		"true",
		"",
		" ",
		"{",
		text.slice(0, -1),
	];
	payloads.push(
		`${text}${text}`,
		`\ufeff${text}`,
		`${text}\0`,
		"{}",
		"[".repeat(4000),
		`{"a":${"9".repeat(4000)}}`,
		"undefined",
	);
	for (const payload of payloads) await expectRefused(t, built, built.mint(payload), `payload ${payload.slice(0, 30)}`);
	const utf16 = Buffer.from(text, "utf16le").toString("latin1");
	await expectRefused(t, built, built.mint(utf16), "a payload in UTF-16");
	const deep = `${text.slice(0, -1)},"more":${"[".repeat(1500)}${"]".repeat(1500)}}`;
	await expectAccepted(t, built, built.mint(deep), built.id, "an unknown claim, however deep, is ignored");
});

t.test("T12: a token that lacks a claim, or has it null, is refused", async (t) => {
	for (const name of Object.keys(built.good)) {
		await expectRefused(t, built, built.mint({ ...built.good, [name]: undefined }), `without ${name}`);
		await expectRefused(t, built, built.mint({ ...built.good, [name]: null }), `${name} null`);
	}
	t.equal(Object.keys(built.good).length, 14, "all of them were tried");
});

t.test("T12: ids, kind and lists of the wrong type are refused", async (t) => {
	const ids: unknown[] = ["", 1, true, [], ["ada"], {}, { toString: "ada" }, "a".repeat(257)];
	const cases: Record<string, unknown[]> = {
		sub: ids,
		jti: ids,
		sid: ids,
		client_id: ids,
		type: ["refresh", "Access", "access ", "", 1, ["access"], {}],
		fresh: ["true", 1, 0, "", [], {}],
		roles: ["admin", {}, 1, [1], [["admin"]], [null], { 0: "admin", length: 1 }],
		permissions: ["users:write", {}, 1, [1], [["users:write"]], [null]],
	};
	for (const [name, values] of Object.entries(cases))
		for (const value of values)
			await expectRefused(
				t,
				built,
				built.mint({ ...built.good, [name]: value }),
				`${name} ${JSON.stringify(value).slice(0, 40)}`,
			);
});

t.test("T13: iss is this service to the letter", async (t) => {
	const ours = "http://localhost:3000";
	const others: unknown[] = [`${ours}/`, "HTTP://localhost:3000", "http://LOCALHOST:3000", "http://localhost:3001"];
	others.push("http://localhost", "https://localhost:3000", ` ${ours}`, `${ours}\0`, `${ours}?`, "", [ours], {
		0: ours,
	});
	others.push({ toString: ours }, 1, true, "http://localhost:3000.evil.example", "http://127.0.0.1:3000", `${ours}#a`);
	for (const iss of others)
		await expectRefused(t, built, built.mint({ ...built.good, iss }), `iss ${JSON.stringify(iss)}`, /iss is not/);
});

t.test("T14: aud holds this service to the letter, alone or in a list", async (t) => {
	const ours = "https://api.example";
	const built = await withAccount(t, { AUDIENCE: `${ours},orders` });
	t.same(built.good.aud, [ours, "orders"], "our tokens are for all of them");
	for (const aud of [ours, [ours], "orders", ["https://other.example", ours], ["orders", "x"]])
		await expectAccepted(t, built, built.mint({ ...built.good, aud }), built.id, `aud ${JSON.stringify(aud)}`);
	const others: unknown[] = [
		"https://other.example",
		[],
		[[]],
		{},
		1,
		true,
		"",
		[""],
		ours.slice(0, -1),
		ours.slice(8),
	];
	others.push(`${ours}/`, `${ours}.evil.example`, ours.toUpperCase(), `${ours} orders`, `${ours},orders`, [`${ours} `]);
	others.push(
		{ 0: ours, length: 1 },
		[[ours]],
		[{ aud: ours }],
		[1, ours],
		[null, ours],
		".*",
		"http://localhost:3000",
	);
	others.push(Array.from({ length: 100 }, () => ours));
	for (const aud of others) {
		const label = `aud ${JSON.stringify(aud).slice(0, 50)}`;
		await expectRefused(t, built, built.mint({ ...built.good, aud }), label, /aud does not hold/);
	}
	await expectRefused(t, built, built.mint({ ...built.good, aud: "a".repeat(50_000) }), "aud of 50 KB", /too long/);
});

t.test("T19: of a name given twice the last one counts, at every door", async (t) => {
	const { mint, get, good, id } = built;
	const bob = await built.addUser("bob");
	const rest = JSON.stringify({ ...good, sub: undefined }).slice(1);
	for (const [first, last, username] of [
		[id, bob, "bob"],
		[bob, id, "ada"],
	] as const)
		for (const name of ['"sub"', '"\\u0073ub"']) {
			const token = mint(`{"sub":"${first}",${name}:"${last}",${rest}`);
			await expectAccepted(t, built, token, last, `sub twice (${name}), the last is ${username}`);
			t.match((await get("/me", token)).json(), { id: last, username }, "/me agrees");
		}
	const { kid, algorithm } = built.services.keys.signing();
	const [, payload] = segments(mint(good));
	const header = (text: string) => signedHeader(built, text, payload);
	const tail = `"typ":"at+jwt","kid":"${kid}"}`;
	await expectAccepted(t, built, header(`{"alg":"none","alg":"${algorithm}",${tail}`), id, "alg twice, ours last");
	for (const name of ['"alg"', '"\\u0061lg"'])
		await expectRefused(
			t,
			built,
			header(`{"alg":"${algorithm}",${name}:"none",${tail}`),
			"none last",
			/its alg is not/,
		);
	await expectRefused(
		t,
		built,
		header(`{"alg":"${algorithm}",${tail.slice(0, -1)},"kid":"x"}`),
		"kid twice",
		/its kid/,
	);
	await expectRefused(
		t,
		built,
		header(`{"alg":"${algorithm}",${tail.slice(0, -1)},"typ":"JWT"}`),
		"typ twice",
		/its typ/,
	);
});

t.test("T15: a token of another kind is refused, whoever signed it", async (t) => {
	for (const typ of [
		"JWT",
		"jwt",
		"",
		"at",
		"at+jwt ",
		"xat+jwt",
		"at+jwt+x",
		"application/jwt",
		"rt+jwt",
		null,
		1,
		["at+jwt"],
	])
		await expectRefused(t, built, built.mint(built.good, { typ }), `typ ${JSON.stringify(typ)}`, /its typ is not/);
	await expectRefused(t, built, built.mint(built.good, { typ: undefined }), "without typ", /its typ is not/);
	for (const typ of ["at+jwt", "AT+JWT", "application/at+jwt"])
		await expectAccepted(t, built, built.mint(built.good, { typ }), built.id, `typ ${typ} (RFC 9068 section 4)`);
});

t.test("T27: long texts in claims are refused for their length, before anything reads them", async (t) => {
	for (const name of ["aud", "sub", "jti", "sid", "client_id", "iss"]) {
		const long = built.mint({ ...built.good, [name]: `${"a".repeat(50_000)}!` });
		await expectRefused(t, built, long, `${name} of 50,000 letters`, /it is too long/);
		const inside = built.mint({ ...built.good, [name]: `${"a".repeat(5000)}!` });
		await expectRefused(t, built, inside, `${name} of 5,000 letters`, /is not an id|aud does not hold|iss is not/);
	}
	// The texts that make a careless pattern run for ever: no canonical end, a wrong character at the end.
	for (const text of [
		"a".repeat(8191),
		`${"a".repeat(8190)}!`,
		`${"a.".repeat(4096)}`,
		".".repeat(8192),
		"-".repeat(8192),
	])
		await expectRefused(t, built, text, `${text.slice(0, 5)}…`, /it is not three segments/);
	await expectRefused(t, built, "a".repeat(8193), "8,193 letters", /it is too long/);
});
