/** W03 and W09: whatever stands in `next`, a login leads to this origin or to an allowed host, and to no new header. */
import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { redirectTarget } from "../../src/redirects.ts";
import { goodPassword, testApp } from "../support/app.ts";
import { createJar, sameOrigin } from "../support/jar.ts";

const hosts = ["app.example.com", ".apps.example.com"];
const settings = { TOKEN_LOCATIONS: "header,cookie", REDIRECT_HOSTS: hosts.join(",") };
const own = "https://login.example.com";
const allowed = /^https:\/\/(login\.example\.com|app\.example\.com|[a-z0-9-]+(\.[a-z0-9-]+)*\.apps\.example\.com)$/;

const vectors = new URL("../../../shared/vectors/redirect/", import.meta.url);
const lists = ["open-redirect-payloads.txt", "openredirects.txt", "open_redirect_param_names.txt", "crlfinjection.txt"];

/** The lines of a list, as they are and percent-decoded, since some expect that somebody decodes them. */
function linesOf(name: string): string[] {
	const text = readFileSync(new URL(name, vectors), "utf8").replaceAll("www.whitelisteddomain.tld", "app.example.com");
	return text.split(/\r?\n/).filter(Boolean).flatMap(variants);
}

function variants(line: string): string[] {
	try {
		return [...new Set([line, decodeURIComponent(line), encodeURI(line)])];
	} catch {
		return [line];
	}
}

const tricks = [
	...[
		"/\\evil.example",
		"/%09/evil.example",
		"/\t/evil.example",
		"https:evil.example",
		"https:/evil.example",
		"https:///evil.example",
	],
	...["https://app.example.com@evil.example", "https://app.example.com.evil.example", "https://evil-app.example.com"],
	...[
		"javascript:alert(1)",
		"JaVaScRiPt:alert(1)",
		"data:text/html,x",
		"vbscript:x",
		"//evil.example",
		"///evil.example",
	],
	...[
		"\\\\evil.example",
		"\\/evil.example",
		"/\\/evil.example",
		"/./\\evil.example",
		" https://evil.example",
		"\u00a0//evil.example",
	],
	...[
		"http://app.example.com/",
		"HTTPS://app.example.com/",
		"https://APP.example.com/",
		"https://app.example.com:8443/",
	],
	...[
		"https://app.example.com:443/",
		"https://app.example.com./",
		"https://user@app.example.com/",
		"https://app.example.com\\@evil.example",
	],
	...[
		"https://apps.example.com/",
		"https://xapps.example.com/",
		"https://evil.example/.apps.example.com",
		"https://evil.example?.apps.example.com",
	],
	...[
		"https://evil.example#.apps.example.com",
		"https://app.example.com%2f@evil.example",
		"https://app。example。com/",
	],
	...[
		"https://here.invalid/",
		"//here.invalid/x",
		"/..//evil.example",
		"/x/../..//evil.example",
		"/a//evil.example",
		"?x",
		"#x",
		"x",
		"./x",
	],
	...[
		"",
		"/%2f%2fevil.example",
		"/%5cevil.example",
		"/%255cevil.example",
		"/x%00",
		"/x\0",
		"/x\r\nSet-Cookie: a=b",
		"/x%0d%0aSet-Cookie:a",
	],
	...[
		"ftp://app.example.com/",
		"wss://app.example.com/",
		"blob:https://app.example.com/x",
		`/${"x".repeat(3000)}`,
		"/\ud800",
	],
	...[
		"https://[::1]/",
		"https://127.1/",
		"https://0x7f.1/",
		"https://app.example.com/\nx",
		"/a b",
		"https://app.example.com/a b",
	],
];

const good = [
	...[
		"/",
		"/me",
		"/docs/",
		"/a/b-c_d.e~f",
		"/search?q=a%20b&back=https%3A%2F%2Fx.example",
		"/a?b//c",
		"/a#b",
		"/a%20b",
	],
	...[
		"https://app.example.com",
		"https://app.example.com/",
		"https://app.example.com/a/b?c=d#e",
		"https://x.apps.example.com/",
	],
	...["https://x.y.apps.example.com/z"],
];

t.test("W03: one rule, default deny", async (t) => {
	for (const next of good) t.equal(redirectTarget(next, hosts), next, `${next} is followed`);
	t.equal(redirectTarget("/계정?언어=한국어", hosts), encodeURI("/계정?언어=한국어"), "a path in Korean");
	for (const next of tricks) {
		const target = redirectTarget(next, hosts);
		t.match(
			URL.parse(target, own)?.origin,
			allowed,
			`${JSON.stringify(next.slice(0, 60))} gives ${target.slice(0, 60)}`,
		);
		if (next !== "/\ud800") t.equal(target, "/", `${JSON.stringify(next.slice(0, 60))} is unclear`);
	}
	t.equal(redirectTarget(undefined, hosts), "/");
	for (const next of ["https://app.example.com/", "https://x.apps.example.com/"])
		t.equal(redirectTarget(next, []), "/", `${next}, but no host is allowed`);
});

const skip = existsSync(vectors) ? {} : { skip: "../shared/vectors is not here" };
t.test("W03, W09: every line of the public lists, at the login page", skip, async (t) => {
	const house = await testApp(t, { settings });
	const jar = createJar(house);
	await jar.login("root");
	const names = new Set<string>();
	for (const list of lists) {
		const lines = linesOf(list);
		t.ok(lines.length >= 17, `${list} is there`);
		for (const line of lines) {
			const answer = await jar.get(`/login?next=${encodeURIComponent(line.toWellFormed())}`);
			const { location = "" } = answer.headers;
			const target = URL.parse(location, own);
			const fits = answer.statusCode === 303 && allowed.test(target?.origin ?? "") && /^[!-~]+$/.test(location);
			if (!fits || location.startsWith("//"))
				t.fail(`${list}: ${JSON.stringify(line)} gives ${answer.statusCode} ${location}`);
			for (const name of Object.keys(answer.headers)) names.add(name);
		}
	}
	t.notOk(
		names.has("set-cookie") || names.has("x") || names.has("crlf"),
		`W09: no header but ours: ${[...names].join()}`,
	);
});

t.test("W03, W09: the same rule after a login", async (t) => {
	const house = await testApp(t, { settings });
	const cases: [string, string][] = [
		["/me?a=b", "/me?a=b"],
		["https://app.example.com/a", "https://app.example.com/a"],
		["https://evil.example/", "/"],
		["/\r\nSet-Cookie: crlf=injection", "/"],
		["//evil.example", "/"],
	];
	for (const [next, location] of cases) {
		const jar = createJar(house);
		const fields = { username: "root", password: goodPassword, delivery: "cookie", next };
		const answer = await jar.post("/login", { fields, headers: { accept: "text/html" } });
		t.equal(answer.statusCode, 303);
		t.equal(answer.headers.location, location, JSON.stringify(next));
		t.notMatch(String(answer.headers["set-cookie"]), /crlf/, "W09");
		t.notMatch(location, /eyJ/, "L23: a redirect carries no token");
	}
	const fields = { username: "a\r\nX: y", password: goodPassword, delivery: "cookie" };
	for (const accept of ["text/html", "*/*"]) {
		const answer = await createJar(house).send("/login", { fields, headers: { ...sameOrigin, accept } });
		t.equal(answer.statusCode, 400, "W09: a name with a line break");
		t.notOk("x" in answer.headers);
	}
});
