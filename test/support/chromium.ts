/** A real browser for tests: Debian's Chromium, or the one that CHROMIUM_PATH names. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import type { Test } from "tap";
import { type TestApp, testApp } from "./app.ts";
import { listen } from "./sockets.ts";

const path = [
	process.env.CHROMIUM_PATH,
	"/usr/bin/chromium",
	"/usr/bin/chromium-browser",
	"/usr/bin/google-chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
].find((candidate) => candidate !== undefined && existsSync(candidate));

/** `{ skip }` of a test: why it cannot run on this machine, or `false`. */
export const skip = path === undefined ? "there is no Chromium here: install it, or set CHROMIUM_PATH" : false;

export interface Visit {
	house: TestApp;
	/** Where the service is, under a name that browsers trust without https. */
	base: string;
	/** A window of its own: no cookie is shared. */
	open(options?: BrowserContextOptions): Promise<{ page: Page; context: BrowserContext; complaints: string[] }>;
}

/** A browser beside a service with cookies on; both are closed when the test ends. */
export async function visit(t: Test, settings: Record<string, string> = {}): Promise<Visit> {
	const house = await testApp(t, { settings: { TOKEN_LOCATIONS: "header,cookie", ...settings } });
	const base = `http://localhost:${await listen(house)}`;
	const browser: Browser = await chromium.launch({
		executablePath: path as string,
		// Nothing leaves this machine, whatever a page asks for.
		args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"],
	});
	t.teardown(() => browser.close());
	return {
		house,
		base,
		async open(options = {}) {
			const context = await browser.newContext({ locale: "en-US", ...options });
			const page = await context.newPage();
			const complaints: string[] = [];
			page.on("console", (message) => {
				// Chromium reports every refusal of ours as well; what must not come is a breach of the policy.
				if (!/the server responded with a status of/.test(message.text())) complaints.push(message.text());
			});
			return { page, context, complaints };
		},
	};
}

/** Fills the form in and sends it. */
export async function logIn(page: Page, username: string, password: string): Promise<void> {
	await page.getByLabel("Username").fill(username);
	await page.getByLabel("Password").fill(password);
	await page.getByRole("button", { name: "Log in" }).click();
}
