/** H16: the catalogue in src/errors.ts, docs/errors.md and the OpenAPI document say the same; and what foreign errors become. */
import { readFileSync } from "node:fs";
import { STATUS_CODES } from "node:http";
import { Type } from "@sinclair/typebox";
import t from "tap";
import { codeOf, describe } from "../src/error-answers.ts";
import { catalogue, type ErrorCode, errors } from "../src/errors.ts";
import { refusals } from "../src/schemas.ts";
import { testApp } from "./support/app.ts";

/** A message that is made for the occasion: docs/errors.md shows it so. */
const madeForTheOccasion = "*says what*";
/** Refusals that no route declares, because the router, the parser or the command line gives them. */
const outsideOfRoutes: ErrorCode[] = [
	"UNKNOWN_ROLE",
	"NOT_FOUND",
	"METHOD_NOT_ALLOWED",
	"USER_NOT_FOUND",
	"KEY_NOT_FOUND",
	"REQUEST_TIMEOUT",
	"USERNAME_TAKEN",
	"LAST_ADMINISTRATOR",
	"URI_TOO_LONG",
	"HEADERS_TOO_LARGE",
	"INTERNAL",
];

const entries = Object.entries(catalogue) as [ErrorCode, { statusCode: number; message: string; doc: string }][];

t.test("docs/errors.md has one row for each code of the catalogue, and says the same", async (t) => {
	const text = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
	const rows = new Map<string, string[]>();
	for (const line of text.split("\n")) {
		const [code, ...cells] = line
			.split(/(?<!\\)\|/)
			.slice(1, -1)
			.map((cell) => cell.trim());
		if (!/^`?[A-Z][A-Z_]+`?$/.test(code ?? "")) continue;
		const name = (code ?? "").replaceAll("`", "");
		t.notOk(rows.has(name), `${name} has one row`);
		rows.set(name, cells);
	}
	for (const [code, { statusCode, message, doc }] of entries) {
		const row = rows.get(code);
		t.ok(row, `${code} has a row in docs/errors.md`);
		if (!row) continue;
		const shown = message === "%s" ? madeForTheOccasion : message;
		t.strictSame(row, [String(statusCode), shown, doc], `${code}: status, message and sentence are the catalogue's`);
	}
	for (const code of rows.keys()) t.ok(Object.hasOwn(catalogue, code), `${code} of docs/errors.md is in the catalogue`);
});

t.test("docs/errors.md says of every header with which statuses it comes", async (t) => {
	const text = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8");
	const rowOf = (name: string) => text.split("\n").filter((line) => line.startsWith(`| \`${name}`));
	for (const [code, { statusCode }] of entries) {
		const { headers } = describe(new errors[code]("the reason"));
		if (headers["retry-after"]) t.match(rowOf("Retry-After").join(), String(statusCode), `${code}: Retry-After`);
		const challenge = headers["www-authenticate"];
		if (challenge)
			t.match(rowOf(`WWW-Authenticate: ${challenge}\``).join(), `| ${statusCode} `, `${code}: ${challenge}`);
	}
});

interface Operation {
	requestBody?: { required: boolean };
	responses: Record<string, { description?: string; content?: Record<string, { schema: object }> }>;
}

t.test(
	"the OpenAPI document declares refusals of the catalogue, under their status, and leaves none out",
	async (t) => {
		const { get } = await testApp(t, {
			settings: { TOKEN_LOCATIONS: "header,cookie" },
			extend: (app) => {
				// No route asks for a fresh token yet.
				const config = { access: "authenticated" };
				const preHandler = app.requires({ fresh: true });
				app.get("/guarded", { config, preHandler }, async () => ({}));
			},
		});
		const { paths } = (await get("/docs/json")).json() as { paths: Record<string, Record<string, Operation>> };
		const declared = new Set<string>();
		for (const [path, operations] of Object.entries(paths))
			for (const [method, { responses }] of Object.entries(operations))
				for (const [status, { description = "", content }] of Object.entries(responses)) {
					if (path !== "/guarded") t.not(description, "Default Response", `${method} ${path} ${status} is described`);
					// The 503 of /readyz is a report, not a refusal.
					if (Number(status) < 400 || path === "/readyz") continue;
					const where = `${method} ${path} ${status}`;
					const codes = description.split("\n\n").map((line) => /^([A-Z_]+): (.+)$/s.exec(line));
					for (const [line = "", code = "", doc] of codes.map((found) => found ?? [])) {
						const entry = catalogue[code as ErrorCode];
						t.ok(entry, `${where}: ${code || JSON.stringify(line)} is in the catalogue`);
						t.equal(entry?.statusCode, Number(status), `${where}: ${code} has this status`);
						t.equal(entry?.doc, doc, `${where}: ${code} is described as in the catalogue`);
						declared.add(code);
						t.equal(description.split(`${code}: `).length, 2, `${where}: ${code} stands there once`);
					}
					const schema = content?.["application/json"]?.schema as Record<string, unknown> | undefined;
					t.match(schema, { type: "object", additionalProperties: false }, `${where}: the one shape, and closed`);
					t.strictSame(schema?.required, ["statusCode", "code", "error", "message"], where);
					const { properties } = schema as { properties: { code: { enum: string[] } } };
					t.strictSame(
						properties.code.enum,
						description.match(/^[A-Z_]+(?=: )/gm),
						`${where}: these codes and no others`,
					);
				}
		for (const [code] of entries)
			t.equal(
				declared.has(code),
				!outsideOfRoutes.includes(code),
				`${code} is declared by a route, or is given outside of them`,
			);
	},
);

t.test("the OpenAPI document says of each route what its guards and its body bring about", async (t) => {
	const documentFor = async (locations: string) => {
		const { get } = await testApp(t, { settings: { TOKEN_LOCATIONS: locations } });
		const { paths } = (await get("/docs/json")).json<{ paths: Record<string, Record<string, Operation>> }>();
		return (path: string, method: string) => paths[path]?.[method] as Operation;
	};
	const refusalsOf = ({ responses }: Operation) =>
		Object.values(responses).flatMap(({ description = "" }) => description.match(/^[A-Z_]+(?=: )/gm) ?? []);
	const header = await documentFor("header");
	const both = await documentFor("header,cookie");
	const always = ["INVALID_TOKEN", "STORE_UNAVAILABLE", "AUTHENTICATION_REQUIRED", "OVERLOADED", "STARTING"];
	t.same(refusalsOf(header("/me", "get")).sort(), always.toSorted(), "nothing that a GET cannot meet");
	t.same(
		refusalsOf(header("/sessions/{id}", "delete")).sort(),
		[...always, "CROSS_ORIGIN_REFUSED", "SESSION_NOT_FOUND"].sort(),
		"a DELETE without a body",
	);
	for (const path of ["/password", "/reauthenticate", "/logout", "/refresh", "/revoke"]) {
		const csrf = ["CSRF_TOKEN_REQUIRED", "CSRF_TOKEN_MISMATCH"];
		const body = ["VALIDATION_FAILED", "MALFORMED_REQUEST", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"];
		for (const code of [...always, ...body, "CROSS_ORIGIN_REFUSED"])
			t.ok(refusalsOf(header(path, "post")).includes(code), `${path}: ${code}`);
		for (const code of csrf) {
			t.ok(refusalsOf(both(path, "post")).includes(code), `${path} with cookies: ${code}`);
			t.notOk(refusalsOf(header(path, "post")).includes(code), `${path} without cookies: no ${code}`);
		}
	}
	t.equal(header("/password", "post").requestBody?.required, true);
	t.equal(header("/logout", "post").requestBody?.required, false, "a header alone will do");
});

t.test(
	"a code or an answer that a route does not declare is sent as it is, and what it declares is not lost",
	async (t) => {
		const { get } = await testApp(t, {
			extend: (app) => {
				const report = Type.Object({ state: Type.String() }, { description: "A report" });
				const response = { ...refusals("SESSION_NOT_FOUND"), 503: report };
				app.get("/other", { config: { access: "public" }, schema: { response } }, async () => {
					throw new errors.USER_NOT_FOUND();
				});
				app.get("/report", { config: { access: "public" }, schema: { response } }, async (_request, reply) =>
					reply.code(503).send({ state: "resting" }),
				);
			},
		});
		const { body } = describe(new errors.USER_NOT_FOUND());
		const answer = await get("/other");
		t.strictSame([answer.statusCode, answer.json()], [404, body]);
		t.strictSame((await get("/report")).json(), { state: "resting" });
		const { paths } = (await get("/docs/json")).json<{ paths: Record<string, Record<string, Operation>> }>();
		const shown = paths["/report"]?.get?.responses[503];
		t.match(shown?.description, /^OVERLOADED: .*\n\nSTARTING: .*\n\nA report$/);
		t.match(shown?.content?.["application/json"]?.schema, { properties: { state: { type: "string" } } });
	},
);

t.test("the catalogue keeps its own rules", async (t) => {
	for (const [code, { statusCode, message, doc }] of entries) {
		t.ok(STATUS_CODES[statusCode], `${code}: a real status`);
		t.match(doc, /^[A-Z].*\.$/, `${code}: a sentence`);
		t.notMatch(message, /\|/, `${code}: fits into a table`);
		const { body, headers } = describe(new errors[code]("the reason"));
		t.strictSame(body, {
			statusCode,
			code,
			error: STATUS_CODES[statusCode],
			message: message === "%s" ? "the reason" : message,
		});
		t.equal(statusCode === 401, headers["www-authenticate"]?.startsWith("Bearer") === true && statusCode !== 403, code);
		t.equal(statusCode === 429 || statusCode === 503, headers["retry-after"] !== undefined, `${code}: Retry-After`);
	}
});

t.test("H07: whatever is thrown becomes an entry of the catalogue, and tells nothing of itself", async (t) => {
	const cases: [unknown, ErrorCode][] = [
		[new Error("secret"), "INTERNAL"],
		[undefined, "INTERNAL"],
		[null, "INTERNAL"],
		["secret", "INTERNAL"],
		[{ code: 42 }, "INTERNAL"],
		[Object.assign(new Error("secret"), { code: "SQLITE_ERROR" }), "INTERNAL"],
		[Object.assign(new Error("secret"), { code: "constructor" }), "INTERNAL"],
		[Object.assign(new Error("secret"), { code: "toString", statusCode: 500 }), "INTERNAL"],
		[Object.assign(new Error("secret"), { statusCode: 503 }), "INTERNAL"],
		[Object.assign(new Error("secret"), { statusCode: 200 }), "INTERNAL"],
		[Object.assign(new Error("secret"), { statusCode: 418 }), "MALFORMED_REQUEST"],
		[Object.assign(new Error("secret"), { code: "HPE_INVALID_TOKEN" }), "MALFORMED_REQUEST"],
		[Object.assign(new Error("secret"), { code: "HPE_HEADER_OVERFLOW" }), "HEADERS_TOO_LARGE"],
		[Object.assign(new Error("secret"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), "REQUEST_TIMEOUT"],
		[Object.assign(new Error("secret"), { code: "FST_ERR_CTP_BODY_TOO_LARGE" }), "PAYLOAD_TOO_LARGE"],
		[new errors.BUSY({ cause: new Error("secret") }), "BUSY"],
	];
	for (const [thrown, code] of cases) {
		t.equal(codeOf(thrown), code);
		t.notMatch(JSON.stringify(describe(thrown)), /secret/, code);
	}
});
