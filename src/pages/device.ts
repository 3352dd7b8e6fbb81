/** A name for a device that its owner recognises, out of a User-Agent header. A guess for the eye: nothing depends on it. */
import type { Texts } from "./texts.ts";

/** Looked for in this order: the later ones are also named by the earlier ones' headers. */
const browsers: readonly (readonly [RegExp, string])[] = [
	[/\bEdgA?\//, "Edge"],
	[/\bOPR\//, "Opera"],
	[/\bSamsungBrowser\//, "Samsung Internet"],
	[/\bWhale\//, "Whale"],
	[/\b(Firefox|FxiOS)\//, "Firefox"],
	[/\b(HeadlessChrome|Chromium|Chrome|CriOS)\//, "Chrome"],
	[/\bVersion\/[\d.]+.* Safari\//, "Safari"],
];

const systems: readonly (readonly [RegExp, string])[] = [
	[/\biPhone\b/, "iPhone"],
	[/\biPad\b/, "iPad"],
	[/\bAndroid\b/, "Android"],
	[/\bCrOS\b/, "ChromeOS"],
	[/\bWindows\b/, "Windows"],
	[/\bMac OS X\b/, "macOS"],
	[/\bLinux\b/, "Linux"],
];

/** Letters of a header that is no known browser's. */
const longest = 40;

/** "Firefox on Linux"; of a program the first word of what it says of itself. */
export function deviceName(userAgent: string | null, words: Texts): string {
	if (!userAgent) return words.unknownDevice;
	const find = (table: typeof browsers) => table.find(([pattern]) => pattern.test(userAgent))?.[1];
	const browser = find(browsers);
	const system = find(systems);
	if (browser && system) return words.deviceOn(browser, system);
	return browser ?? (userAgent.split(/[\s(]/, 1)[0]?.slice(0, longest) || words.unknownDevice);
}
