/** What every page has in common: its frame, its headers, and who gets a page instead of JSON. */
import { createHash } from "node:crypto";
import { type Html, html } from "./html.ts";
import { stylesheet } from "./style.ts";
import { type Language, texts } from "./texts.ts";

/** An answer for a browser. */
export interface Page {
	statusCode: number;
	headers: Readonly<Record<string, string>>;
	/** Nothing where the browser is only sent on. */
	body?: string;
}

const styleHash = createHash("sha256").update(stylesheet).digest("base64");

/**
 * Whether the caller is a browser that shows a page: it asks for HTML (RFC 9110 section 12.5.1) and has no token of its
 * own (a gateway's password may be there). Programs, and scripts of pages, do not, and get JSON.
 */
export const wantsPage = ({
	accept,
	authorization,
}: {
	accept?: string | undefined;
	authorization?: string | undefined;
}): boolean => !/^bearer\b/i.test(authorization ?? "") && /(^|,)\s*text\/html\s*(;|,|$)/i.test(accept ?? "");

/** Sends the browser to another page, by GET (RFC 9110 section 15.4.4). */
export const seeOther = (location: string): Page => ({ statusCode: 303, headers: { location } });

/**
 * A whole page.
 *
 * @param wide for lists.
 * @param problem whether it says that something went wrong.
 * @param formTargets hosts that a form of this page may lead to: Chromium asks `form-action` for redirects as well.
 */
export function page({
	language,
	title,
	content,
	statusCode = 200,
	wide = false,
	problem = false,
	formTargets = [],
}: {
	language: Language;
	title: string;
	content: Html;
	statusCode?: number;
	wide?: boolean;
	problem?: boolean;
	formTargets?: readonly string[];
}): Page {
	const document = html`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${problem && `${texts[language].error}: `}${title} · Gatehouse</title>
<style>${{ markup: stylesheet }}</style>
</head>
<body${wide && html` class="wide"`}>
<header>${logo} Gatehouse</header>
<main>
${content}
</main>
</body>
</html>
`;
	return { statusCode, headers: pageHeaders(language, formTargets), body: document.markup };
}

const pageHeaders = (language: Language, formTargets: readonly string[]): Record<string, string> => ({
	"content-type": "text/html; charset=utf-8",
	"content-language": language,
	vary: "Accept-Language, Accept, Cookie",
	"content-security-policy": [
		"default-src 'none'",
		`style-src 'sha256-${styleHash}'`,
		["form-action 'self'", ...formTargets.map((host) => `https://${host.replace(/^\./, "*.")}`)].join(" "),
		"frame-ancestors 'none'",
		"base-uri 'none'",
	].join("; "),
	"cross-origin-opener-policy": "same-origin",
	// Not `no-referrer`: then browsers post forms with `Origin: null`, which the same-origin rule refuses.
	"referrer-policy": "same-origin",
});

/** A gate. */
const logo = html`<svg viewBox="0 0 32 32" fill="none" stroke="currentColor" stroke-linecap="round" aria-hidden="true"><path stroke-width="3" d="M4 28V15a12 12 0 0 1 24 0v13"/><path stroke-width="1.75" d="M10.5 28V11M16 28V5M21.5 28V11M5 16.500h22M5 22.500h22"/></svg>`;
