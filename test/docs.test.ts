/** The pages for people, kept true: tables against the code, examples by running them, links and file lists by looking. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { settings, shown } from "../src/config/config.ts";
import { goodPassword, testApp } from "./support/app.ts";
import { compile, copyProject } from "./support/compile.ts";
import { freePort } from "./support/free-port.ts";
import { temporaryFolder } from "./support/stores.ts";

const root = resolve(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const readme = read("README.md");
const architecture = read("docs/architecture.md");
const pages = ["README.md", "SECURITY.md", "CHANGELOG.md", ...globSync("docs/*.md", { cwd: root })];
const sources = globSync(["src/**/*.ts", "plugins/**/*.ts", "routes/**/*.ts"], { cwd: root }).sort();

/** The part of a page from a heading to the next one of the same or a higher level. */
function section(page: string, heading: string): string {
	const level = heading.indexOf(" ");
	const [, rest = ""] = `\n${page}`.split(`\n${heading}\n`, 2);
	return rest.split(new RegExp(`\n#{1,${level}} `), 1)[0] ?? "";
}

/** The first block of code in this language. */
function code(text: string, language: string): string {
	const found = new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``).exec(text)?.[1];
	if (found === undefined) throw new Error(`There is no block of ${language}`);
	return found;
}

/** The rows of the first table, without its head. */
const rows = (text: string): string[] =>
	text
		.split("\n")
		.filter((line) => line.startsWith("|"))
		.slice(2);

t.test("the README's table of settings is the one in src/config/settings.ts, in its order", async (t) => {
	const expected = (Object.keys(settings) as (keyof typeof settings)[]).map((key) => {
		const { name, doc, fallback, fallbackDoc }: { name: string; doc: string; fallback: unknown; fallbackDoc?: string } =
			settings[key];
		return `| \`${name}\` | ${fallbackDoc ?? `\`${shown(key, fallback)}\``} | ${doc} |`;
	});
	t.same(rows(section(readme, "## Settings")), expected);
});

t.test(
	"the README has the two commands, the usage that the command line prints, and answers as they come",
	async (t) => {
		t.match(readme, "npm ci && npm start");
		t.match(readme, "npm ci && npm test");
		const usage = execFileSync(process.execPath, [join(root, "src/main.ts"), "help"], { encoding: "utf8" });
		t.ok(section(readme, "## Commands").includes(usage.trim()), "usage");

		const { app, addUser, login, get } = await testApp(t);
		const id = await addUser("ada");
		const answer = (await login("ada")).json<{ access_token: string }>();
		const start = section(readme, "## Sixty seconds");
		const withoutTokens = (text: string) => text.replaceAll(/(?<=_token":")[^"]*/g, "");
		t.ok(withoutTokens(start).includes(withoutTokens(JSON.stringify(answer))), "the login's answer");
		const greeting = (await get("/protected", answer.access_token)).body;
		const printed = /\{"message":"[^}]*\}/.exec(start)?.[0] ?? "";
		t.equal(printed.replace(/(?<=user: )[\w-]+/, id), greeting, "the greeting");
		t.ok(start.includes((await get("/protected")).body), "the refusal");

		const [header = "", claims = ""] = code(section(readme, "## Routes"), "json").split("\n");
		const part = (index: number): object =>
			JSON.parse(Buffer.from(answer.access_token.split(".")[index] ?? "", "base64url").toString()) as object;
		t.same(Object.keys(JSON.parse(header) as object), Object.keys(part(0)), "the header");
		t.same(Object.keys(JSON.parse(claims) as object), Object.keys(part(1)), "the claims");
		await app.close();
	},
);

t.test("a route dropped into routes/, as the README shows it, compiles, serves and guards", async (t) => {
	const copy = copyProject(t);
	writeFileSync(join(copy, "routes/team.ts"), `${code(section(readme, "## A protected route of your own"), "ts")}\n`);
	t.equal(compile(copy), "", "it compiles");

	const builder = (await import(pathToFileURL(join(copy, "test/support/app.ts")).href)) as { testApp: typeof testApp };
	const { addUser, tokenFor, get } = await builder.testApp(t);
	const id = await addUser("ada", ["admin"]);
	await addUser("bob", ["user"]);
	t.match((await get("/team")).json(), { statusCode: 401, code: "AUTHENTICATION_REQUIRED" });
	t.match((await get("/team", await tokenFor("bob"))).json(), { statusCode: 403, code: "INSUFFICIENT_PERMISSIONS" });
	const answer = await get("/team", await tokenFor("ada"));
	t.equal(answer.statusCode, 200);
	t.same(answer.json(), { asked_by: id, usernames: ["ada", "bob", "root"] });
	t.ok((await get("/docs/json")).json<{ paths: object }>().paths["/team" as never], "it is on the page");
});

t.test("jose accepts our tokens and refuses others, as the README shows it", async (t) => {
	const folder = temporaryFolder(t);
	const issuer = `http://127.0.0.1:${await freePort()}`;
	const { app, addUser, tokenFor, mint, claims } = await testApp(t, { settings: { ISSUER: issuer } });
	await app.listen({ host: "127.0.0.1", port: Number(new URL(issuer).port) });
	symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
	const snippet = code(section(readme, "### Node, with jose"), "js");
	t.ok(snippet.includes("http://localhost:3000"), "the issuer of a first start");
	writeFileSync(join(folder, "verify.mjs"), snippet.replace("http://localhost:3000", issuer));
	const { verify } = (await import(pathToFileURL(join(folder, "verify.mjs")).href)) as {
		verify(token: string): Promise<{ sub: string }>;
	};

	const id = await addUser("ada");
	const token = await tokenFor("ada");
	t.match(await verify(token), { sub: id, iss: issuer, roles: ["user"] });
	const good = claims(id);
	t.match(await verify(mint(good)), { sub: id }, "the tokens below are good but for one thing");
	const { jti: _, ...withoutId } = good;
	const cases: [what: string, token: string][] = [
		["another kind of token", mint(good, { typ: "JWT" })],
		["another audience", mint({ ...good, aud: ["https://other.example.com"] })],
		["another issuer", mint({ ...good, iss: "https://other.example.com" })],
		["expired", mint({ ...good, exp: good.iat - 60 })],
		["without an id", mint(withoutId)],
		["another token's signature", [...token.split(".").slice(0, 2), mint(good).split(".")[2]].join(".")],
		["no signature", `${token.split(".").slice(0, 2).join(".")}.`],
	];
	for (const [what, refused] of cases) await t.rejects(verify(refused), what);
});

interface Operation {
	operationId?: string;
	security?: Record<string, string[]>[];
	responses: Record<string, { description?: string; content?: Record<string, { schema: Record<string, unknown> }> }>;
	requestBody?: { content: object };
}
interface OpenApi {
	openapi: string;
	info: { title: string; version: string };
	paths: Record<string, Record<string, Operation>>;
	components: { securitySchemes: object };
}

t.test("the OpenAPI document is well formed and has the routes of the README, with their access", async (t) => {
	const { get } = await testApp(t);
	const document = (await get("/docs/json")).json<OpenApi>();
	t.match(document.openapi, /^3\.1\.\d+$/);
	t.equal(document.info.version, (JSON.parse(read("package.json")) as { version: string }).version);
	const routes: string[] = [];
	for (const [path, operations] of Object.entries(document.paths)) {
		t.match(path, /^\//);
		for (const [method, operation] of Object.entries(operations)) {
			const route = `${method.toUpperCase()} ${path}`;
			const [needs] = operation.security ?? [];
			for (const scheme of (operation.security ?? []).flatMap(Object.keys))
				t.hasOwnProp(document.components.securitySchemes, scheme, `${route}: scheme`);
			if (needs) t.ok(operation.responses[401] && operation.responses[503], `${route}: how it refuses`);
			routes.push(`\`${route}\` | \`${needs ? (needs.accessToken?.[0] ?? "authenticated") : "public"}\``);
			t.notSame(Object.keys(operation.responses), [], `${route}: answers`);
			t.equal(method === "post", operation.requestBody !== undefined, `${route}: a body where it is posted`);
			for (const [status, { description, content }] of Object.entries(operation.responses)) {
				t.type(description, "string", `${route}: ${status} is described`);
				if (Number(status) < 400 || route === "GET /readyz") continue;
				const required = content?.["application/json"]?.schema.required;
				t.same(required, ["statusCode", "code", "error", "message"], `${route}: ${status} has the error shape`);
			}
		}
	}
	const listed = rows(section(readme, "## Routes")).map((row) => row.split("|").slice(1, 3).join("|").trim());
	t.same([...listed].sort(), routes.sort());
	const text = JSON.stringify(document);
	t.notMatch(text, /"prefixItems"|"items":\[/, "no tuples: they come out invalid");
	t.notMatch(text, /"\$ref"|"\$id"/, "nothing refers elsewhere");
});

/** What the document has of one schema: enough to hold an answer against it. */
interface Shape {
	type?: string;
	enum?: string[];
	required?: string[];
	properties?: Record<string, Shape>;
	additionalProperties?: boolean;
	items?: Shape;
	anyOf?: Shape[];
}

/** Whether a value is what a schema says. */
function fits(value: unknown, shape: Shape): boolean {
	const { type, enum: values, required = [], properties = {}, additionalProperties, items = {}, anyOf } = shape;
	if (anyOf) return anyOf.filter((one) => fits(value, one)).length === 1;
	if (type === "integer") return Number.isInteger(value);
	if (type === "array") return Array.isArray(value) && value.every((item) => fits(item, items));
	if (type === "object") {
		const members = Object.entries(value as object);
		const isKnown = (name: string) => Object.hasOwn(properties, name) || additionalProperties !== false;
		return (
			required.every((name) => Object.hasOwn(value as object, name)) &&
			members.every(([name, member]) => isKnown(name) && fits(member, properties[name] ?? {}))
		);
	}
	return type === undefined || (typeof value === type && (values?.includes(value as string) ?? true));
}

t.test("every operation of the OpenAPI document has a name of its own, which generated clients call", async (t) => {
	const named = async (locations: string) => {
		const { get } = await testApp(t, {
			settings: { TOKEN_LOCATIONS: locations },
			// A route that names itself nothing, as the README shows one.
			extend: (app) => {
				app.get("/our-teams/:id", { config: { access: "public" } }, async () => ({}));
			},
		});
		const { paths } = (await get("/docs/json")).json<OpenApi>();
		const ids = Object.entries(paths).flatMap(([path, operations]) =>
			Object.entries(operations).map(([method, { operationId }]) => {
				t.match(operationId, /^[a-z]+([A-Z][a-z0-9]+)*$/, `${method} ${path}: ${operationId}`);
				return operationId;
			}),
		);
		t.equal(new Set(ids).size, ids.length, "no two alike");
		return ids;
	};
	const ids = await named("header");
	for (const id of ["login", "refresh", "logout", "logoutEverywhere", "listSessions", "endSession", "getOurTeamsId"])
		t.ok(ids.includes(id), id);
	t.ok((await named("header,cookie")).length > ids.length);
});

t.test("the OpenAPI document says what is always in an answer with tokens, and in the key set", async (t) => {
	for (const [locations, algorithm] of [
		["header", "ES256"],
		["header", "RS256"],
		["header,cookie", "EdDSA"],
	] as const) {
		const settings = { TOKEN_LOCATIONS: locations, SIGNING_ALGORITHM: algorithm };
		const { app, addUser, get } = await testApp(t, { settings });
		await addUser("ada");
		const { paths } = (await get("/docs/json")).json<OpenApi>();
		const shapeOf = (path: string, method = "post", type = "application/json") =>
			paths[path]?.[method]?.responses[200]?.content?.[type]?.schema as Shape;
		const post = async (url: string, fields: Record<string, string>, headers: Record<string, string> = {}) => {
			const answer = await app.inject({
				method: "POST",
				url,
				headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
				payload: new URLSearchParams(fields).toString(),
			});
			t.equal(answer.statusCode, 200, url);
			return answer.json<Record<string, string>>();
		};
		const password = { username: "ada", password: goodPassword };
		const login = await post("/login", password);
		const bearer = { authorization: `Bearer ${login.access_token}` };
		const answers: [path: string, answer: Record<string, string>][] = [
			["/login", login],
			["/reauthenticate", await post("/reauthenticate", { password: goodPassword }, bearer)],
			["/refresh", await post("/refresh", { refresh_token: login.refresh_token ?? "" })],
		];
		const cookies = locations.includes("cookie");
		if (cookies) answers.push(["/login", await post("/login", { ...password, delivery: "cookie" })]);
		for (const [path, answer] of answers) {
			const shape = shapeOf(path);
			t.ok(fits(answer, shape), `${path}: ${Object.keys(answer)}`);
			for (const name of ["access_token", "csrf_token", "token_type", "expires_in"]) {
				const { [name]: member, ...without } = answer;
				if (member !== undefined) t.notOk(fits(without, shape), `${path}: never without ${name}`);
			}
		}
		t.equal(shapeOf("/refresh").anyOf?.length, cookies ? 3 : undefined, "one form where there are no cookies");

		const keySet = shapeOf("/.well-known/jwks.json", "get", "application/jwk-set+json");
		const { keys } = (await get("/.well-known/jwks.json")).json<{ keys: object[] }>();
		t.ok(keys.length > 0 && fits({ keys }, keySet), `${algorithm}: the key set`);
		for (const key of keys)
			for (const name of Object.keys(key))
				t.notOk(fits({ keys: [{ ...key, [name]: undefined }] }, keySet), `no key without ${name}`);
	}
});

t.test("docs/architecture.md lists every file, and none that is missing", async (t) => {
	const listed = rows(section(architecture, "### src/, the domain"))
		.concat(
			rows(section(architecture, "### plugins/, the wiring")),
			rows(section(architecture, "### routes/, the surface")),
		)
		.map((row) => /`([^`]+)`/.exec(row)?.[1] ?? row);
	t.same(listed.sort(), sources);
	for (const page of pages) {
		const named = read(page).match(/(?<=`)(src|plugins|routes|test|docs|bench)\/[\w./-]+\.(ts|md)(?=`)/g) ?? [];
		// Files that the page itself shows, for a reader to drop in.
		const isShown = (path: string) => path === "routes/team.ts" || read(page).includes(`\n\`${path}\`:\n`);
		const missing = named.filter((path) => !isShown(path) && !existsSync(join(root, path)));
		t.same(missing, [], `${page} names files that are there`);
	}
});

t.test("docs/architecture.md says which file of the domain imports which package", async (t) => {
	const table = rows(section(architecture, "## Who may import whom").split("Packages of the domain")[1] ?? "");
	const domain = sources.filter(
		(path) => path.startsWith("src/") && path !== "src/app.ts" && !path.startsWith("src/store"),
	);
	for (const path of domain) {
		const packages = [...read(path).matchAll(/\bfrom "((?:@[\w-]+\/)?[\w-]+)/g)].map(([, name]) => name ?? "");
		for (const name of packages.filter((name) => name !== "node"))
			t.ok(
				table.some((row) => row.includes(name) && row.includes(`\`${path}\``)),
				`${path} imports ${name}`,
			);
	}
});

t.test("links between the pages lead somewhere", async (t) => {
	const anchors = (page: string): string[] =>
		[...page.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
			title
				.toLowerCase()
				.replace(/[^\p{L}\p{N}\s_-]/gu, "")
				.replace(/\s/g, "-"),
		);
	for (const page of pages) {
		for (const [, target = ""] of read(page).matchAll(/\]\(([^)]+)\)/g)) {
			if (/^https:/.test(target)) continue;
			const [path = "", anchor] = target.split("#");
			const file = path === "" ? page : join(dirname(page), path);
			if (!t.ok(existsSync(join(root, file)), `${page}: ${target}`)) continue;
			if (anchor) t.ok(anchors(read(file)).includes(anchor), `${page}: ${target}`);
		}
	}
});
