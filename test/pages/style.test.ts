/** What the eye needs: contrast in light and dark, computed as WCAG 2.2 has it. And the small functions of the pages. */
import t from "tap";
import { deviceName } from "../../src/pages/device.ts";
import { html } from "../../src/pages/html.ts";
import { wantsPage } from "../../src/pages/page.ts";
import { type Palette, palettes, stylesheet } from "../../src/pages/style.ts";
import { languageOf, texts } from "../../src/pages/texts.ts";

/** Relative luminance of `#rrggbb`. */
function luminance(colour: string): number {
	const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
		const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
		return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
	});
	return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
	const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
	return (light + 0.05) / (dark + 0.05);
}

t.test("text has a contrast of 4.5 or more, what can be used 3 or more, in light and in dark", async (t) => {
	t.equal(Math.round(contrast("#000000", "#ffffff")), 21, "the formula");
	const readable: [keyof Palette, keyof Palette][] = [
		["text", "card"],
		["text", "page"],
		["quiet", "card"],
		["accent", "page"],
		["accent", "card"],
		["onAccent", "accent"],
		["danger", "card"],
		["danger", "dangerCard"],
	];
	const visible: [keyof Palette, keyof Palette][] = [
		["edge", "card"],
		["accent", "card"],
		["danger", "card"],
	];
	for (const [name, palette] of Object.entries(palettes))
		for (const [pairs, least] of [
			[readable, 4.5],
			[visible, 3],
		] as const)
			for (const [one, other] of pairs) {
				const found = contrast(palette[one], palette[other]);
				t.ok(found >= least, `${name}: ${one} on ${other} has ${found.toFixed(2)}`);
			}
	t.match(stylesheet, "prefers-color-scheme: dark");
	t.match(stylesheet, "prefers-reduced-motion");
	t.match(stylesheet, ":focus-visible");
	t.notMatch(stylesheet, /url\(|@import/, "nothing is loaded");
});

t.test("whatever is put into a page is escaped, but what a template made", async (t) => {
	const hostile = `<script>alert("1")</script>'&`;
	const escaped = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;";
	t.equal(html`<p title="${hostile}">${hostile}</p>`.markup, `<p title="${escaped}">${escaped}</p>`);
	t.equal(html`${[html`<b>${"<"}</b>`, "<i>"]}${undefined}${false}`.markup, "<b>&lt;</b>&lt;i&gt;");
});

t.test("Accept-Language chooses the language, English where it names neither", async (t) => {
	const cases: [string | undefined, "en" | "ko"][] = [
		[undefined, "en"],
		["", "en"],
		["ko", "ko"],
		["ko-KR,ko;q=0.9,en-US;q=0.8", "ko"],
		["en-US,en;q=0.9,ko;q=0.8", "en"],
		["fr,ko;q=0.4,en;q=0.3", "ko"],
		["KO", "ko"],
		["en;q=0,ko;q=0.1", "ko"],
		["de, *", "en"],
		["kok", "en"],
		["ko;q=x", "en"],
		[`${"de,".repeat(5000)}ko`, "en"],
	];
	for (const [header, language] of cases) t.equal(languageOf(header), language, String(header).slice(0, 40));
});

t.test("a browser is told from a program by its Accept header, and by having no token of its own", async (t) => {
	const chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
	t.ok(wantsPage({ accept: chromium }));
	t.ok(wantsPage({ accept: "application/json, text/html;q=0.5" }));
	for (const accept of [undefined, "", "*/*", "application/json", "text/*", "text/htmlx", "x-text/html"])
		t.notOk(wantsPage({ accept }), String(accept));
	t.notOk(wantsPage({ accept: chromium, authorization: "bearer x" }));
	t.ok(
		wantsPage({ accept: chromium, authorization: "Basic eDp4" }),
		"a gateway in front may ask for a password of its own",
	);
});

t.test("devices have names that their owners recognise", async (t) => {
	const engine = "AppleWebKit/537.36 (KHTML, like Gecko)";
	const cases: [string | null, string][] = [
		[`Mozilla/5.0 (X11; Linux x86_64) ${engine} Chrome/140.0.0.0 Safari/537.36`, "Chrome on Linux"],
		[
			`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${engine} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0`,
			"Edge on Windows",
		],
		["Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"],
		[
			"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
			"Safari on iPhone",
		],
		[
			`Mozilla/5.0 (Linux; Android 15; SM-S938N) ${engine} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36`,
			"Samsung Internet on Android",
		],
		["curl/8.5.0", "curl/8.5.0"],
		["python-requests/2.32 (x)", "python-requests/2.32"],
		[null, "Unknown device"],
		["", "Unknown device"],
		["(x)", "Unknown device"],
		["y".repeat(256), "y".repeat(40)],
	];
	for (const [userAgent, name] of cases) t.equal(deviceName(userAgent, texts.en), name);
	t.equal(deviceName(cases[0]?.[0] ?? "", texts.ko), "Linux의 Chrome");
});
