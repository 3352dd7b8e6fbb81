/** The login page: one plain form without script, as password managers and screen readers like it. */
import type { ErrorAnswer } from "../error-answers.ts";
import { html } from "./html.ts";
import { type Page, page } from "./page.ts";
import { problemText } from "./refusals.ts";
import { type Language, texts } from "./texts.ts";

/**
 * The form.
 *
 * @param next where a good login leads; goes into a hidden field.
 * @param formTargets REDIRECT_HOSTS.
 * @param refusal why the last attempt failed, and the username that was given: never the password.
 */
export function loginPage({
	language,
	next,
	formTargets,
	refusal,
	username = "",
}: {
	language: Language;
	next: string;
	formTargets: readonly string[];
	refusal?: ErrorAnswer;
	username?: string;
}): Page {
	const words = texts[language];
	// Read out with the field that has the focus.
	const invalid = refusal && html` aria-invalid="true" aria-describedby="problem"`;
	const focus = html` autofocus`;
	return page({
		language,
		title: words.login,
		statusCode: refusal?.statusCode ?? 200,
		problem: refusal !== undefined,
		formTargets,
		content: html`<h1>${words.login}</h1>
${refusal && html`<p class="problem" id="problem" role="alert">${problemText(refusal, words)}</p>`}
<form class="login" method="post" action="/login">
<input type="hidden" name="delivery" value="cookie">
<input type="hidden" name="next" value="${next}">
<label for="username">${words.username}</label>
<input id="username" name="username" value="${username}" type="text" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck="false" required${username === "" && focus}${invalid}>
<label for="password">${words.password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required${username !== "" && focus}${invalid}>
<button class="main">${words.login}</button>
</form>`,
	});
}
