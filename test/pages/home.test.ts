/** The start page: whose session it is, what its buttons do, and what another tab notices of it. */
import t from "tap";
import { type TestApp, testApp } from "../support/app.ts";
import { createJar, type Jar, sameOrigin } from "../support/jar.ts";
import { beginRow, passTime } from "../support/sessions.ts";

const settings = { TOKEN_LOCATIONS: "header,cookie" };
const accept = "text/html,application/xhtml+xml,*/*;q=0.8";
const pages = { accept };

const open = async (t: Parameters<typeof testApp>[0]) => {
	const house = await testApp(t, { settings });
	const jar = createJar(house);
	await jar.login("root");
	return { house, jar };
};

/** Presses a button: posts its form, with the value that stands in the page. */
async function press(jar: Jar, page: string, action: string, headers: Record<string, string> = {}) {
	const form = page.split(`action="${action}">`)[1]?.split("</form>")[0];
	if (form === undefined) throw new Error(`no form for ${action}`);
	const hidden = [...form.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)">/g)];
	const fields = Object.fromEntries(hidden.map(([, name, value]) => [name ?? "", value ?? ""]));
	const sent = { ...sameOrigin, accept, ...headers };
	return jar.take(await jar.send(action, { fields, headers: sent }));
}

const home = async (jar: Jar) => (await jar.get("/", pages)).body;
const generationOf = async ({ services }: TestApp, jar: Jar) =>
	(await services.sessions.find(services.refresh.sessionIdOf(jar.cookies.get("__Host-refresh") ?? "") ?? ""))?.session
		.generation;

t.test("it shows who is logged in and where, the current session marked", async (t) => {
	const { house, jar } = await open(t);
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
	const fields = { username: "root", password: "copper thistle meridian 2718", delivery: "cookie" };
	await createJar(house).send("/login", { fields, headers: { "user-agent": firefox } });
	await createJar(house).send("/login", { fields, headers: { "user-agent": `<script>alert(1)</script>` } });
	const answer = await jar.get("/", { ...pages, "accept-language": "en" });
	t.equal(answer.statusCode, 200);
	t.match(answer.headers, { "cache-control": "no-store", "content-type": "text/html; charset=utf-8" });
	t.match(answer.headers["content-security-policy"], "form-action 'self';");
	t.equal(answer.headers["set-cookie"], undefined, "looking sets no cookie");
	t.match(answer.body, "<h1>root</h1>");
	t.match(answer.body, "Firefox on Linux");
	t.match(answer.body, "&lt;script&gt;alert");
	t.notMatch(answer.body, /<script|eyJ|\sstyle=/, "no script, no token, nothing unescaped");
	t.equal(answer.body.match(/<li>/g)?.length, 3);
	t.equal(answer.body.match(/This device/g)?.length, 1);
	t.equal(answer.body.match(/<time datetime="\d{4}-\d\d-\d\dT[\d:.]+Z">/g)?.length, 6);
	t.equal(answer.body.match(/action="\/sessions\/[\w-]{22}\/end"/g)?.length, 2, "the current one is ended by Log out");
	t.equal(answer.body.split(`value="${jar.csrf()}"`).length, 5, "the value is in every form");
	t.match((await jar.get("/", { ...pages, "accept-language": "ko" })).body, "로그인된 기기");
	await house.addUser("ada");
	const other = createJar(house);
	await other.login("ada");
	t.notMatch(await home(other), />root<|Firefox/, "others see their own");
});

t.test("of very many sessions it shows a hundred, its own among them, and how many more there are", async (t) => {
	const { house, jar } = await open(t);
	const { id } = await house.services.users.getByName("root");
	const beginMore = async (count: number) => {
		for (let turn = 0; turn < count; turn++)
			await beginRow(house.services, id, { userAgent: undefined, address: "192.0.2.7" });
	};
	const english = async () => (await jar.get("/", { ...pages, "accept-language": "en" })).body;
	/** When the one that looks was used, beside the others: then it is among the first or comes after them. */
	const use = (seconds: number) =>
		house.services.store.db
			.updateTable("sessions")
			.set((row) => ({ refreshed_at: row("refreshed_at", "+", seconds) }))
			.where("address", "!=", "192.0.2.7")
			.execute();
	await beginMore(99);
	t.equal((await english()).match(/<li>/g)?.length, 100, "a hundred are shown");
	t.notMatch(await english(), /And \d+ more/);
	await beginMore(51);
	for (const [seconds, what] of [
		[600, "used later than all the others"],
		[-1200, "used before them"],
	] as const) {
		await use(seconds);
		const page = await english();
		t.equal(page.match(/<li>/g)?.length, 100, what);
		t.match(page, "And 51 more", what);
		t.equal(page.match(/This device/g)?.length, 1, what);
	}
	t.match((await jar.get("/", { ...pages, "accept-language": "ko" })).body, "51대 더");
	t.equal((await house.services.sessions.list(id)).length, 151);
});

t.test("nobody is sent to the login page, and no cookie is touched", async (t) => {
	const { house, jar } = await open(t);
	const cases = ["", "__Host-access=x", "__Host-refresh=x", "__Host-access=x; __Host-refresh=y; __Host-csrf=z"];
	for (const cookie of cases) {
		const answer = await jar.get("/", { ...pages, cookie });
		t.match(answer, { statusCode: 303, headers: { location: "/login" } }, cookie);
		t.notOk("set-cookie" in answer.headers);
		t.equal((await jar.get("/login", { ...pages, cookie })).statusCode, 200, "where the form is");
	}
	t.equal((await jar.get("/", { ...pages, cookie: `${jar.header()}; __Host-access=x` })).statusCode, 400, "C06");
	const id = (await house.services.users.getByName("root")).id;
	await house.addUser("deputy", ["admin"]);
	await house.services.users.setDisabled(id, true);
	t.equal((await jar.get("/", pages)).headers.location, "/login", "a disabled account is nobody");
});

t.test("the button beside a session ends it", async (t) => {
	const { house, jar } = await open(t);
	const other = createJar(house);
	await other.login("root");
	const page = await home(jar);
	const action = /\/sessions\/[\w-]+\/end/.exec(page)?.[0] ?? "";
	t.equal((await jar.send(action, { headers: { ...sameOrigin, accept } })).statusCode, 403, "not without the value");
	t.equal((await other.get("/me")).statusCode, 200);
	const answer = await press(jar, page, action);
	t.match(answer, { statusCode: 303, headers: { location: "/" } });
	t.equal((await other.get("/me")).statusCode, 401);
	t.notMatch(await home(jar), /\/end"/);
	t.match(
		await press(jar, page, action),
		{ statusCode: 303, headers: { location: "/" } },
		"pressed again: back to the list",
	);
	t.equal((await jar.post(action)).statusCode, 404, "a program is told");

	await house.addUser("ada");
	const ada = createJar(house);
	await ada.login("ada");
	const sessionId = house.services.refresh.sessionIdOf(ada.cookies.get("__Host-refresh") ?? "");
	const theirs = await jar.post(`/sessions/${sessionId}/end`, { headers: { accept } });
	t.match(theirs, { statusCode: 303, headers: { location: "/" } });
	t.equal((await ada.get("/me")).statusCode, 200, "H14: but nobody's else");
});

t.test("logging out in one tab leads the other one to the login page", async (t) => {
	for (const action of ["/logout", "/logout/all"]) {
		const { house, jar } = await open(t);
		const second = createJar(house);
		await second.login("root");
		const tab = await home(jar);
		const before = new Map(jar.cookies);
		const answer = await press(jar, tab, action);
		t.match(answer, { statusCode: 303, headers: { location: "/login" } }, action);
		const kept = action === "/logout" ? ["__Host-device"] : [];
		t.same([...jar.cookies.keys()], kept, "C10: every cookie is taken back but the device's");
		t.equal((await second.get("/me")).statusCode, action === "/logout" ? 200 : 401);
		for (const cookies of [jar.cookies, before])
			for (const next of ["/logout", "/logout/all", "/refresh"]) {
				jar.cookies.clear();
				for (const [name, value] of cookies) jar.cookies.set(name, value);
				const page = tab.replaceAll(`action="/logout"`, `action="${next}"`);
				const after = await press(jar, page, next);
				t.match(after, { statusCode: 303, headers: { location: "/login" } }, `then ${next}`);
				t.notOk("set-cookie" in after.headers, "F13: and nothing is touched");
			}
		t.match((await jar.send("/logout", { headers: sameOrigin })).json(), { statusCode: 401 }, "programs get JSON");
	}
});

t.test("a page from before another login does nothing, and says so", async (t) => {
	const { jar } = await open(t);
	const old = await home(jar);
	await jar.login("root");
	const answer = await press(jar, old, "/logout");
	t.equal(answer.statusCode, 403, "C08");
	t.match(answer.body, /This page was out of date, so nothing was done/);
	t.match(answer.body, '<a class="button main" href="/">');
	t.equal((await jar.get("/me")).statusCode, 200);
	const foreign = await press(jar, await home(jar), "/logout", {
		"sec-fetch-site": "cross-site",
		origin: "https://evil.example",
	});
	t.equal(foreign.statusCode, 403, "C02");
	t.match(foreign.body, /sent from another website/);
});

t.test(
	"when the access cookie has ended, the session is found by the refresh cookie, which is not used up",
	async (t) => {
		const { house, jar } = await open(t);
		await createJar(house).login("root");
		house.clock.advance(900 + 31);
		for (const gone of [false, true]) {
			if (gone) jar.cookies.delete("__Host-access");
			for (let turn = 0; turn < 3; turn++) {
				const answer = await jar.get("/", pages);
				t.equal(answer.statusCode, 200);
				t.match(answer.body, "<h1>root</h1>");
				t.match(answer.body, "You were away for a while");
				t.notMatch(answer.body, /\/end"/, "what would fail is not offered");
				t.notOk("set-cookie" in answer.headers);
			}
		}
		t.equal(await generationOf(house, jar), 0, "read only");
		const way = String((await jar.get("/login?next=%2Fme%3Fa%3D1", pages)).headers.location);
		t.equal(way, "/?next=%2Fme%3Fa%3D1", "no circle between a page and the login, and the way is kept");
		t.match((await jar.get("/?next=https://evil.example/", pages)).body, 'name="next" value="/"', "W03");
		const renewed = await press(jar, (await jar.get(way, pages)).body, "/refresh");
		t.match(renewed, { statusCode: 303, headers: { location: "/me?a=1" } });
		t.equal(renewed.body, "");
		t.equal(await generationOf(house, jar), 1);
		t.match(await home(jar), /\/end"/);
		t.notMatch(await home(jar), /You were away/);
		await passTime(house, 31 * 86_400);
		t.equal((await jar.get("/", pages)).headers.location, "/login", "an ended session is not found");
	},
);

t.test("without its store the page is a 503 in words", async (t) => {
	const { house, jar } = await open(t);
	const { errors } = await import("../../src/errors.ts");
	house.services.sessions.list = async () => {
		throw new errors.STORE_UNAVAILABLE();
	};
	const answer = await jar.get("/", pages);
	t.equal(answer.statusCode, 503);
	t.equal(answer.headers["retry-after"], "2");
	t.match(answer.body, /not available right now/);
	t.match((await jar.get("/")).json(), { code: "STORE_UNAVAILABLE" });
});

t.test(
	"V02: whose access cookie it is waits, as a guard does, for what was revoked while the process stood still",
	async (t) => {
		const house = await testApp(t, { settings });
		const jar = createJar(house);
		await jar.login("root");
		const { changes } = house.services;
		const { hold, fresh } = changes;
		const { promise, resolve } = Promise.withResolvers<void>();
		changes.hold = () => promise;
		let answered = false;
		const page = jar.get("/").finally(() => {
			answered = true;
		});
		await new Promise((later) => setTimeout(later, 100));
		t.notOk(answered, "before it has heard nobody is shown");
		resolve();
		t.equal((await page).statusCode, 200);
		changes.hold = hold;
		changes.fresh = () => false;
		t.equal((await jar.get("/")).statusCode, 503, "nor on news that are too old");
		changes.fresh = fresh;
	},
);
