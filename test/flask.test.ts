/**
 * A token of ours in flask-jwt-extended itself, given the public key: Debian's package of it, run by Debian's Python. And
 * the page that answers each of its rows, held to the tests and the names that it gives.
 */
import { spawn, spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import type { JWK } from "jose";
import t from "tap";
import { settings as allSettings } from "../src/config/settings.ts";
import { catalogue } from "../src/errors.ts";
import { form, testApp } from "./support/app.ts";
import { foreignToken } from "./support/forgery.ts";
import { freePort } from "./support/free-port.ts";
import { temporaryFolder } from "./support/stores.ts";

const root = resolve(import.meta.dirname, "..");
const python = "/usr/bin/python3";
const isInstalled = spawnSync(python, ["-c", "import flask_jwt_extended, cryptography"]).status === 0;
const skip = isInstalled ? {} : { skip: "needs Debian's python3-python-flask-jwt-extended and python3-cryptography" };

type Question = { app?: string; settings?: object; requests: (readonly [path: string, token: string | undefined])[] };
type Answer = [status: number, body: { sub?: string; message?: string; msg?: string } | null];

/** Asks a Flask application in a process of its own; this one goes on serving the key set meanwhile. */
async function ask(question: Question): Promise<Answer[]> {
	const child = spawn(python, [join(root, "test/support/flask_app.py")], {
		env: { PATH: process.env.PATH, no_proxy: "*" },
		stdio: ["pipe", "pipe", "pipe"],
	});
	child.stdin.end(JSON.stringify(question));
	const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
	if (child.exitCode !== 0) throw new Error(errors);
	return JSON.parse(out) as Answer[];
}

/** A service that listens, tokens of every kind, and what each has to be answered by `/hello` and by `/careful`. */
async function withTokens(test: Parameters<typeof testApp>[0], algorithm: string) {
	const issuer = `http://127.0.0.1:${await freePort()}`;
	const house = await testApp(test, { settings: { ISSUER: issuer, SIGNING_ALGORITHM: algorithm } });
	const { app, addUser, login, claims, mint, get } = house;
	await app.listen({ host: "127.0.0.1", port: Number(new URL(issuer).port) });
	const id = await addUser("ada");
	const first = (await login("ada")).json<{ access_token: string; refresh_token: string }>();
	const { refresh_token } = first;
	const refreshed = await app.inject({ method: "POST", url: "/refresh", ...form({ refresh_token }) });
	const good = claims(id);
	const { kid } = house.services.keys.signing();
	const stranger = generateKeyPairSync("ec", {
		namedCurve: "P-256",
		privateKeyEncoding: { type: "pkcs8", format: "pem" },
		publicKeyEncoding: { type: "spki", format: "pem" },
	}).privateKey;
	const [head = "", , signature = ""] = first.access_token.split(".");
	const tampered = [head, Buffer.from(JSON.stringify({ ...good, sub: "root" })).toString("base64url"), signature];
	const cases: [what: string, token: string | undefined, hello: number, careful: number][] = [
		["from a login", first.access_token, 200, 200],
		["from a refresh", refreshed.json<{ access_token: string }>().access_token, 200, 401],
		["expired", mint({ ...good, exp: good.iat - 60 }), 401, 401],
		["tampered with", tampered.join("."), 422, 422],
		["signed by somebody else", foreignToken({ kid }, good, stranger), 422, 422],
		["for another audience", mint({ ...good, aud: ["https://other.example"] }), 422, 422],
		["of another issuer", mint({ ...good, iss: "https://other.example" }), 422, 422],
		["a refresh token", refresh_token, 422, 422],
		["none", undefined, 401, 401],
	];
	const { keys } = (await get("/.well-known/jwks.json")).json<{ keys: JWK[] }>();
	return { issuer, id, cases, keys, mint, good };
}

t.test("flask-jwt-extended accepts our token, given the public key, as it accepts its own", skip, async (t) => {
	for (const algorithm of ["ES256", "RS256", "EdDSA"]) {
		const { issuer, id, cases, keys } = await withTokens(t, algorithm);
		const settings = {
			JWT_ALGORITHM: algorithm,
			JWT_PUBLIC_KEY: createPublicKey({ key: keys[0] as JWK, format: "jwk" }).export({
				type: "spki",
				format: "pem",
			}),
			JWT_DECODE_ISSUER: issuer,
			JWT_DECODE_AUDIENCE: issuer,
		};
		const asked = cases.flatMap(([what, token, hello, careful]) => [
			{ what, path: "/hello", token, expected: hello },
			{ what, path: "/careful", token, expected: careful },
		]);
		const answers = await ask({ settings, requests: asked.map(({ path, token }) => [path, token] as const) });
		t.equal(answers.length, asked.length);
		for (const [index, { what, path, expected }] of asked.entries()) {
			const [status, body] = answers[index] ?? [];
			t.equal(status, expected, `${algorithm}, ${path}: ${what}: ${JSON.stringify(body)}`);
			if (status === 200) t.equal(body?.sub, id, "the identity is our sub");
		}
	}
});

t.test("the README's snippet for Flask with flask-jwt-extended does it by the key set", skip, async (t) => {
	const readme = readFileSync(join(root, "README.md"), "utf8");
	const [, section = ""] = readme.split("### Python, with flask-jwt-extended\n");
	const snippet = /```python\n([\s\S]*?)\n```/.exec(section)?.[1] ?? "";
	t.ok(snippet.includes('"http://localhost:3000"'), "the issuer of a first start");
	const { issuer, id, cases, mint, good } = await withTokens(t, "ES256");
	const file = join(temporaryFolder(t), "service.py");
	writeFileSync(file, snippet.replace("http://localhost:3000", issuer));
	cases.push(
		["of a key that is not in the set", mint(good, { kid: "unknown" }), 422, 422],
		["without the name of a key", mint(good, { kid: undefined }), 422, 422],
		["of another type", mint(good, { typ: "JWT" }), 400, 400],
	);
	const requests = cases.flatMap(([, token]) => [["/hello", token] as const, ["/careful", token] as const]);
	const answers = await ask({ app: file, requests });
	for (const [index, [what, , hello, careful]] of cases.entries()) {
		const [first, second] = answers.slice(2 * index) as [Answer, Answer];
		t.same([first[0], second[0]], [hello, careful], `${what}: ${JSON.stringify([first[1], second[1]])}`);
		if (hello === 200) t.match(first[1], { message: `Hello ${id}` });
	}
});

const page = readFileSync(join(root, "docs/flask-jwt-extended.md"), "utf8");
const rows = [...page.matchAll(/^\| ([CTPLKRB]\d+) \| (.*) \| (.*) \| (.*) \|$/gm)].map(
	([, id = "", there = "", here = "", shown = ""]) => ({ id, there, here, shown }),
);

t.test("docs/flask-jwt-extended.md answers every row once, in order", async (t) => {
	const last = { C: 35, T: 7, P: 11, L: 6, K: 5, R: 5, B: 15 };
	const ids = Object.entries(last).flatMap(([letter, count]) =>
		Array.from({ length: count }, (_, index) => `${letter}${index + 1}`),
	);
	t.same(
		rows.map(({ id }) => id),
		ids,
	);
	for (const { id, there, here } of rows) t.ok(there.length > 3 && /\.$/.test(here), `${id}: ${here}`);
});

t.test("each row of the page names a test that there is, or says that there is nothing to show", async (t) => {
	const titlesOf = (file: string): string[] =>
		[...readFileSync(file, "utf8").matchAll(/\bt\.test\(\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)/g)].map(
			([, plain, template]) => (plain ?? template ?? "").replace(/^\$\{kind\}: /, ""),
		);
	for (const { id, here, shown } of rows) {
		if (shown === "-") {
			t.match(here, /^Not offered: /, `${id}: nothing to show, for nothing is there`);
			continue;
		}
		const [, path = "", beginning = ""] = /^`([\w/-]+)` "(.+)"$/.exec(shown) ?? [];
		const file = join(root, `test/${path}.test.ts`);
		if (!t.ok(existsSync(file), `${id}: ${shown}`)) continue;
		t.ok(
			titlesOf(file).some((title) => title.startsWith(beginning)),
			`${id}: ${shown}`,
		);
	}
});

t.test("what the page tells to write or to set is there", async (t) => {
	const { app } = await testApp(t);
	const answers = rows.map(({ here }) => here).join("\n");
	const names = (object: string) =>
		[...answers.matchAll(new RegExp(`\\b${object}\\.(\\w+)`, "g"))].map(([, name = ""]) => name);
	for (const name of names("app")) t.ok(app.hasDecorator(name), `app.${name}`);
	for (const name of names("request")) t.ok(app.hasRequestDecorator(name), `request.${name}`);
	for (const name of names("reply")) t.ok(app.hasReplyDecorator(name), `reply.${name}`);
	t.ok(names("app").length > 10 && names("request").length > 3 && names("reply").length > 2);
	const known = new Set([...Object.values(allSettings).map(({ name }) => name), ...Object.keys(catalogue)]);
	for (const [, name = ""] of answers.matchAll(/`([A-Z]+(?:_[A-Z]+)+|ISSUER|AUDIENCE|SECRET)\b/g))
		t.ok(known.has(name), name);
});
