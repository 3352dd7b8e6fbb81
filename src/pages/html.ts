/** HTML that is safe by construction: whatever is put into a template is escaped, unless a template made it. */

/** A piece of HTML. */
export interface Html {
	readonly markup: string;
}

/** What a template takes. Lists are joined, `undefined` and `false` are nothing. */
export type Content = string | Html | undefined | false | readonly Content[];

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** ``html`<p>${text}</p>` ``. Attribute values must stand in double quotes. */
export const html = (parts: TemplateStringsArray, ...values: readonly Content[]): Html => ({
	markup: parts.map((part, index) => part + rendered(values[index])).join(""),
});

function rendered(content: Content): string {
	if (content === undefined || content === false) return "";
	if (typeof content === "string") return content.replace(/[&<>"']/g, (letter) => entities[letter] ?? "");
	return "markup" in content ? content.markup : content.map(rendered).join("");
}
