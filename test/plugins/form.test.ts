/** Bodies at /login: rows L06, L07, L13, H12 and H13. The store plays no part: nothing here gets past the parser. */
import { randomInt } from "node:crypto";
import t from "tap";
import { goodPassword, testApp } from "../support/app.ts";
import { rounds } from "../support/rounds.ts";

const good = new URLSearchParams({ username: "root", password: goodPassword }).toString();
const json = JSON.stringify({ username: "root", password: goodPassword });
const fuzzed = rounds(5_000);

t.test("bodies", async (t) => {
	const { app, services, login } = await testApp(t, { logLevel: "fatal" });
	const post = (payload: string | Buffer, type: string) =>
		app.inject({ method: "POST", url: "/login", payload, headers: { "content-type": type } });
	const hashes = () => services.passwords.stats().work.verify;

	await t.test("L06: every accepted spelling of a content type is parsed and validated", async (t) => {
		const accepted: [string, string][] = [
			[good, "application/x-www-form-urlencoded"],
			[good, "APPLICATION/X-WWW-Form-Urlencoded"],
			[good, "application/x-www-form-urlencoded; charset=utf-8"],
			[good, 'application/x-www-form-urlencoded;charset="UTF-8"'],
			[json, "application/json"],
			[json, "Application/JSON;charset=utf-8"],
		];
		for (const [body, type] of accepted) {
			t.equal((await post(body, type)).statusCode, 200, type);
			const invalid = body === json ? json.replace("}", ',"role":"admin"}') : `${good}&role=admin`;
			t.match((await post(invalid, type)).json(), { statusCode: 400, code: "VALIDATION_FAILED" }, `${type}: validated`);
		}
	});

	await t.test("L06: a trick in the content type is 415, never an unvalidated body", async (t) => {
		const before = hashes();
		const base = "application/x-www-form-urlencoded";
		const tricks = [
			...[` ${base}`, `\t${base}`, `${base}\t`, `${base}\ta`, `${base} `, `${base} ;`, `${base};`, `${base},`],
			...[
				`${base},application/json`,
				`${base}, application/json`,
				`application/json,${base}`,
				`${base};;charset=utf-8`,
			],
			...["utf-16", "utf-7", "utf-16le", "iso-8859-1", "ibm500", "utf-8;x=y", "'utf-8'"].map(
				(set) => `${base}; charset=${set}`,
			),
			...[`${base}; boundary=x`, `${base}\0`, `${base}x`, `x${base}`, "application/x-www-form-urlencoded/json"],
			...["application/json;", "application/json ; charset=utf-16", "application/jsonx", "application/json/", "json"],
			...[
				"application/json\t; charset=utf-8",
				"\u00a0application/json",
				"application\\json",
				"__proto__",
				"constructor",
			],
		];
		for (const type of tricks)
			for (const body of [good, json]) {
				const answer = await post(body, type);
				t.match(answer.json(), { statusCode: 415, code: "UNSUPPORTED_MEDIA_TYPE" }, JSON.stringify(type));
			}
		t.equal(hashes(), before, "nothing was read, so nothing was checked");
	});

	await t.test("L06: the two types do not mix", async (t) => {
		t.match((await post(json, "application/x-www-form-urlencoded")).json(), { statusCode: 400 });
		t.match((await post(good, "application/json")).json(), { statusCode: 400, code: "MALFORMED_REQUEST" });
		t.match((await post(`\ufeff${json}`, "application/json")).statusCode, /^(200|400)$/);
		const utf16 = Buffer.from(json, "utf16le");
		t.match((await post(utf16, "application/json")).json(), { statusCode: 400, code: "MALFORMED_REQUEST" });
		const broken = Buffer.concat([
			Buffer.from('{"username":"root","password":"'),
			Buffer.from([0xff]),
			Buffer.from('"}'),
		]);
		t.match((await post(broken, "application/json")).json(), { statusCode: 400, code: "MALFORMED_REQUEST" });
	});

	await t.test("L06: a body where none is meant is refused, a type without a body is not", async (t) => {
		const headers = { "content-type": "application/json" };
		t.equal((await app.inject({ url: "/livez", headers })).statusCode, 200);
		const answer = await app.inject({ method: "GET", url: "/livez", headers, payload: "{}" });
		t.match(answer.json(), { statusCode: 415, code: "UNSUPPORTED_MEDIA_TYPE" });
	});

	await t.test("L07: 16 KB are read, one byte more is not, and neither are many fields", async (t) => {
		const before = hashes();
		const fill = (bytes: number) => `username=root&password=${"a".repeat(bytes - 23)}`;
		const type = "application/x-www-form-urlencoded";
		t.match((await post(fill(16_384), type)).json(), { statusCode: 400, code: "INVALID_PASSWORD" });
		const many = (count: number) => Array.from({ length: count }, (_, index) => `f${index}=`).join("&");
		for (const body of [fill(16_385), many(100_000), many(101), `${good}&${many(99)}`])
			t.match((await post(body, type)).json(), { statusCode: 413, code: "PAYLOAD_TOO_LARGE" }, `${body.length} bytes`);
		t.match(
			(await post(many(100), type)).json(),
			{ statusCode: 400, code: "VALIDATION_FAILED" },
			"100 fields are read",
		);
		const longJson = JSON.stringify({ username: "root", password: "a".repeat(16_384) });
		t.match((await post(longJson, "application/json")).json(), { statusCode: 413, code: "PAYLOAD_TOO_LARGE" });
		t.equal(hashes(), before, "none costs a hash");
	});

	await t.test("H13: colliding and deeply nested keys do not block the loop", async (t) => {
		// 16 KB of integer-like keys; V8 hashed them by their value, so that these fell into one bucket.
		const keys = Array.from({ length: 1_100 }, (_, index) => `"${index * 2 ** 16}":0`).join(",");
		const bodies: [string, string][] = [
			[`{${keys}}`.slice(0, 16_384).replace(/,[^,]*$/, "}"), "application/json"],
			["[".repeat(10_000), "application/json"],
			[`{"username":${"[".repeat(5_000)}${"]".repeat(5_000)},"password":"x"}`, "application/json"],
			[`{"username":${"9".repeat(16_000)}}`, "application/json"],
			[
				Array.from({ length: 1_500 }, (_, index) => index * 65_536)
					.join("=&")
					.slice(0, 16_384),
				"application/x-www-form-urlencoded",
			],
		];
		for (const [body, type] of bodies) {
			await post(body, type);
			const began = process.cpuUsage();
			const { statusCode } = await post(body, type);
			const { user } = process.cpuUsage(began);
			t.ok(statusCode >= 400 && statusCode < 500, `${body.slice(0, 20)}: ${statusCode}`);
			// The row's figure is 20 ms; the margin is for a busy machine. A blocked loop would take seconds.
			t.ok(user < 200_000, `${body.slice(0, 20)}: ${user / 1000} ms of processor time`);
		}
	});

	await t.test(`H12: ${fuzzed} malformed content types are 4xx, and the service is well afterwards`, async (t) => {
		const pieces = [
			...["application", "/", "json", "x-www-form-urlencoded", ";", ",", "=", '"', "\\", " ", "\t", "charset", "utf-8"],
			...[
				"boundary",
				"*",
				"\u00ff",
				"\u0001",
				"__proto__",
				"multipart/form-data",
				"a".repeat(500),
				"(",
				"%00",
				"{",
				"+",
			],
		];
		const before = hashes();
		const others: unknown[] = [];
		for (let round = 0; round < fuzzed; round++) {
			const type = Array.from({ length: randomInt(1, 9) }, () => pieces[randomInt(pieces.length)]).join("");
			const { statusCode } = await post("{}", type);
			if (statusCode < 400 || statusCode >= 500) others.push({ type, statusCode });
		}
		t.strictSame(others, []);
		t.equal(hashes(), before);
		t.equal((await login("root")).statusCode, 200);
	});
});
