/** The start page of somebody who is logged in: who that is, and where else. */
import type { Session } from "../sessions/session.ts";
import { deviceName } from "./device.ts";
import { type Html, html } from "./html.ts";
import { type Page, page } from "./page.ts";
import { type Language, texts } from "./texts.ts";

/** Sessions that the page shows: more than a person looks through, few enough to be written at once. */
const mostShown = 100;

/**
 * The page.
 *
 * @param sessions the last used first; where there are too many the rest is counted.
 * @param csrfToken the double-submit value, for the hidden fields.
 * @param accessEnded the access cookie has ended: sessions are shown, and can be ended after the cookies were renewed.
 * @param next where that leads to.
 * @param formTargets the hosts that it may be on.
 * @param now epoch seconds.
 */
export function homePage({
	language,
	username,
	sessions,
	currentId,
	csrfToken,
	accessEnded,
	next,
	formTargets,
	now,
}: {
	language: Language;
	username: string;
	sessions: readonly Session[];
	currentId: string;
	csrfToken: string;
	accessEnded: boolean;
	next: string;
	formTargets: readonly string[];
	now: number;
}): Page {
	const words = texts[language];
	const post = (action: string, button: Html) =>
		html`<form method="post" action="${action}"><input type="hidden" name="csrf_token" value="${csrfToken}">${button}</form>`;
	const hiddenNext = html`<input type="hidden" name="next" value="${next}">`;
	const renewal = html`<div class="renewal"><p>${words.accessEnded}</p>${post("/refresh", html`${hiddenNext}<button>${words.goOn}</button>`)}</div>`;
	const time = (at: number, text: string) => html`<time datetime="${new Date(at * 1000).toISOString()}">${text}</time>`;

	const row = (session: Session) => {
		const { id, address, createdAt, refreshedAt } = session;
		const device = deviceName(session.userAgent, words);
		const isCurrent = id === currentId;
		const end = html`<button class="grave">${words.end}<span class="hidden">: ${device}, ${address}</span></button>`;
		return html`<li>
<div>
<p class="name">${device}${isCurrent && html` <span class="badge">${words.thisSession}</span>`}</p>
<p class="quiet">${words.lastUsed}: ${time(refreshedAt, ago(refreshedAt, now, language))} · ${address}</p>
<p class="quiet">${words.begun}: ${time(createdAt, moment(createdAt, language))}</p>
</div>
${!isCurrent && !accessEnded && post(`/sessions/${id}/end`, end)}
</li>`;
	};

	// Whoever looks always sees the session that it is.
	const current = sessions.findIndex(({ id }) => id === currentId);
	const shownFirst = current < mostShown ? mostShown : mostShown - 1;
	const shown = sessions.filter((_, index) => index < shownFirst || index === current);
	const rest = sessions.length - shown.length;

	return page({
		language,
		title: username,
		wide: true,
		formTargets,
		content: html`<p class="quiet account">${words.account}</p>
<h1>${username}</h1>
${accessEnded && renewal}
<h2 id="sessions">${words.sessions}</h2>
<ul class="sessions" aria-labelledby="sessions">
${shown.map(row)}
</ul>
${rest > 0 && html`<p class="quiet">${words.more(rest)}</p>`}
<div class="actions">
${post("/logout", html`<button class="main">${words.logout}</button>`)}
${post("/logout/all", html`<button class="grave">${words.logoutAll}</button>`)}
</div>`,
	});
}

const units = [
	["day", 86_400],
	["hour", 3_600],
	["minute", 60],
] as const;

const makeFormats = (language: Language) => ({
	ago: new Intl.RelativeTimeFormat(language, { numeric: "auto" }),
	// In UTC, because a page without script does not know where its reader is.
	moment: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }),
});
const formats: Partial<Record<Language, ReturnType<typeof makeFormats>>> = {};

/** Made once a language, on its first page: it takes longer than the rest of a row, and a start without pages needs none. */
function formatsOf(language: Language): ReturnType<typeof makeFormats> {
	formats[language] ??= makeFormats(language);
	return formats[language];
}

/** "3 hours ago". */
function ago(at: number, now: number, language: Language): string {
	const seconds = Math.max(now - at, 0);
	const [unit, size] = units.find(([, length]) => seconds >= length) ?? ["second", Number.POSITIVE_INFINITY];
	return formatsOf(language).ago.format(-Math.floor(seconds / size), unit);
}

/** A date and a time. */
const moment = (at: number, language: Language): string => `${formatsOf(language).moment.format(at * 1000)} UTC`;
