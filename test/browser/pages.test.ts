/** The pages in a real Chromium: with script switched off, by keyboard, in two tabs, on a small screen. */
import t from "tap";
import { goodPassword } from "../support/app.ts";
import { logIn, skip, visit } from "../support/chromium.ts";

t.test("the pages in Chromium", { skip }, async (t) => {
	const { house, base, open } = await visit(t, { REDIRECT_HOSTS: "app.example.com" });

	await t.test("without script somebody logs in, sees who that is, and logs out", async (t) => {
		const { page, context, complaints } = await open({ javaScriptEnabled: false });
		await page.goto(base);
		t.equal(page.url(), `${base}/login`);
		await logIn(page, "root", goodPassword);
		t.equal(page.url(), `${base}/`);
		t.equal(await page.getByRole("heading", { level: 1 }).textContent(), "root");
		t.match(await page.getByRole("listitem").textContent(), /Chrome on \w+ This device/);
		const cookies = await context.cookies();
		t.same(
			cookies
				.map(({ name, httpOnly, secure, sameSite, path }) => [name, httpOnly, secure, sameSite, path].join(" "))
				.sort(),
			[
				"__Host-access true true Lax /",
				"__Host-csrf false true Strict /",
				"__Host-device true true Strict /",
				"__Host-refresh true true Strict /",
			],
			"C01: as Chromium keeps them",
		);
		await page.goto(`${base}/login?next=/`);
		t.equal(page.url(), `${base}/`, "who is logged in is sent on");
		await page.getByRole("button", { name: "Log out", exact: true }).click();
		t.equal(page.url(), `${base}/login`);
		t.same(
			(await context.cookies()).map(({ name }) => name),
			["__Host-device"],
			"C10",
		);
		t.same(complaints, [], "nothing of the page breaks its own policy");
		await context.close();
	});

	await t.test("a wrong password is said in words; keyboard and screen reader find them", async (t) => {
		const { page, context, complaints } = await open();
		await page.goto(`${base}/login?next=/me`);
		t.equal(await page.evaluate("document.activeElement.id"), "username", "the first field has the focus");
		await page.keyboard.type("root");
		await page.keyboard.press("Tab");
		await page.keyboard.type("wrong horse battery");
		await page.keyboard.press("Tab");
		t.equal(await page.evaluate("document.activeElement.textContent"), "Log in", "then comes the button");
		await page.keyboard.press("Enter");
		await page.waitForURL(`${base}/login`);
		const alert = page.getByRole("alert");
		t.equal(await alert.textContent(), "The username or the password is wrong.");
		t.match(await page.title(), /^Error: /);
		t.equal(await page.getByLabel("Username").inputValue(), "root", "the name is kept");
		const password = page.getByLabel("Password");
		t.equal(await password.inputValue(), "", "the password is not");
		t.equal(await page.evaluate("document.activeElement.id"), "password");
		t.match(await page.locator("main").ariaSnapshot(), /alert: The username or the password is wrong/);
		t.equal(await password.getAttribute("aria-describedby"), await alert.getAttribute("id"));
		t.equal(await password.getAttribute("type"), "password", "masked");

		await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: base });
		await page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(goodPassword)})`);
		await password.focus();
		await page.keyboard.press("ControlOrMeta+V");
		t.equal(await password.inputValue(), goodPassword, "the masked field takes pastes");
		await page.keyboard.press("Enter");
		await page.waitForURL(`${base}/me`);
		t.match(await page.locator("body").textContent(), /"username":"root"/, "the next page, also after the error");
		t.same(complaints, []);
		await context.close();
	});

	await t.test("logging out in one tab leads the other tab's next action to the login page", async (t) => {
		const { page, context } = await open();
		await page.goto(`${base}/login`);
		await logIn(page, "root", goodPassword);
		const other = await context.newPage();
		await other.goto(base);
		await page.getByRole("button", { name: "Log out", exact: true }).click();
		await other.getByRole("button", { name: "Log out everywhere" }).click();
		t.equal(other.url(), `${base}/login`);
		await logIn(other, "root", goodPassword);
		await page.goto(base);
		t.equal(await page.getByRole("heading", { level: 1 }).textContent(), "root", "and the first is logged in again");
		await context.close();
	});

	await t.test("another device is ended by its button, and after a while away one continues", async (t) => {
		const [here, there] = [await open(), await open()];
		for (const { page } of [here, there]) {
			await page.goto(`${base}/login`);
			await logIn(page, "root", goodPassword);
		}
		await here.page.goto(base);
		const ends = here.page.getByRole("button", { name: /^End/ });
		t.match(await ends.first().textContent(), /^End: Chrome on \w+, /, "the name of the button says which");
		while ((await ends.count()) > 0) await ends.first().click();
		await there.page.goto(base);
		t.equal(there.page.url(), `${base}/login`);

		house.clock.advance(900 + 31);
		await here.page.goto(base);
		t.match(await here.page.locator("main").textContent(), /You were away for a while/);
		await here.page.getByRole("button", { name: "Continue" }).click();
		t.equal(here.page.url(), `${base}/`);
		t.notMatch(await here.page.locator("main").textContent(), /You were away/);
		for (const { context } of [here, there]) await context.close();
	});

	await t.test("a login leads to an allowed host, past the page's own policy, and to no other", async (t) => {
		const far = "https://app.example.com/welcome";
		const { page, context, complaints } = await open();
		await page.goto(`${base}/login?next=${encodeURIComponent("https://evil.example/")}`);
		await logIn(page, "root", goodPassword);
		t.equal(page.url(), `${base}/`, "W03: another host");
		await context.clearCookies();
		await page.goto(`${base}/login?next=${encodeURIComponent(far)}`);
		// Nobody is there: what counts is that Chromium goes.
		const [request] = await Promise.all([
			page.waitForRequest(far),
			logIn(page, "root", goodPassword).catch(() => undefined),
		]);
		t.equal(request.redirectedFrom()?.url(), `${base}/login`, "W03: an allowed host");
		t.equal(request.method(), "GET");
		t.notMatch(complaints.join(), /Content Security Policy|form-action/);
		await context.close();
	});

	await t.test("C02, L22: a page of another site can neither log out nor log in", async (t) => {
		const { page, context } = await open();
		await page.goto(`${base}/login`);
		await logIn(page, "root", goodPassword);
		const evil = (action: string, fields: string) =>
			`<form method="post" action="${base}${action}">${fields}<button>Win</button></form>`;
		const login = `<input name="username" value="root"><input name="password" value="${goodPassword}"><input name="delivery" value="cookie">`;
		for (const [action, fields] of [
			["/logout", ""],
			["/login", login],
		] as const) {
			await context.route("https://evil.example/", (route) =>
				route.fulfill({ contentType: "text/html", body: evil(action, fields) }),
			);
			const before = await context.cookies(base);
			await page.goto("https://evil.example/");
			const [answer] = await Promise.all([
				page.waitForResponse((response) => response.url() === `${base}${action}`),
				page.getByRole("button", { name: "Win" }).click(),
			]);
			t.equal(answer.status(), 403, action);
			t.same(await context.cookies(base), before, "no cookie has changed");
			await context.unroute("https://evil.example/");
		}
		await page.goto(base);
		t.equal(page.url(), `${base}/`, "still logged in");
		await context.close();
	});

	await t.test("it fits 320 pixels, with fingers, in Korean and in the dark", async (t) => {
		const small = { width: 320, height: 640 };
		const { page, context } = await open({
			viewport: small,
			locale: "ko-KR",
			colorScheme: "dark",
			reducedMotion: "reduce",
		});
		const fits = async (what: string) => {
			t.ok(Number(await page.evaluate("document.documentElement.scrollWidth")) <= small.width, `${what}: no scrolling`);
			for (const target of await page.locator("input:visible, button:visible, a:visible").all()) {
				const box = await target.boundingBox();
				t.ok(box && box.height >= 44 && box.width >= 44, `${what}: ${box?.width} by ${box?.height} pixels`);
			}
		};
		await page.goto(`${base}/login`);
		t.equal(await page.evaluate("document.documentElement.lang"), "ko");
		t.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(18, 23, 22)", "dark");
		t.match(await page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration"), /^0s/);
		await fits("the form");
		await page.getByLabel("사용자 이름").fill("x".repeat(64));
		await page.getByLabel("비밀번호").fill("wrong horse battery");
		await page.getByRole("button", { name: "로그인" }).click();
		await fits("a refusal");
		await page.getByLabel("사용자 이름").fill("root");
		await page.getByLabel("비밀번호").fill(goodPassword);
		await page.getByRole("button", { name: "로그인" }).click();
		t.equal(await page.getByRole("heading", { level: 1 }).textContent(), "root");
		await fits("the list");
		await context.close();
	});
});
