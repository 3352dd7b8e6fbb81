/** What a browser sees where a program would get an error in JSON. */
import type { ErrorAnswer } from "../error-answers.ts";
import type { ErrorCode } from "../errors.ts";
import { html } from "./html.ts";
import { type Page, page, seeOther } from "./page.ts";
import { languageOf, type Texts, texts } from "./texts.ts";

/** What went wrong, in words for a person. */
export const problemText = ({ code }: ErrorAnswer, words: Texts): string =>
	words.problems[code as ErrorCode] ?? words.problems.other;

/** The answer to a button that could not do what it says: back to where the person can go on, or a page that says why. */
export function actionRefusal(
	refusal: ErrorAnswer,
	{ headers }: { headers: { "accept-language"?: string | undefined } },
): Page {
	// Logged out meanwhile, perhaps in another tab.
	if (refusal.statusCode === 401) return seeOther("/login");
	// Ended meanwhile: the list shows it.
	if (refusal.code === "SESSION_NOT_FOUND") return seeOther("/");
	const language = languageOf(headers["accept-language"]);
	const words = texts[language];
	const { statusCode } = refusal;
	const text = problemText(refusal, words);
	const content = html`<h1>${words.error}</h1>
<p role="alert">${text}</p>
<a class="button main" href="/">${words.back}</a>`;
	return page({ language, title: text, statusCode, content });
}
