/** What a row of the tables of settings is. */

/** One setting and how its text becomes a value. */
export interface Setting<Value> {
	/** The environment variable. */
	name: string;
	/** One sentence for the README's table; units are part of the name. */
	doc: string;
	/** Throws a Refusal where the text is not acceptable. */
	parse: (text: string) => Value;
	/** The value where nothing is set. */
	fallback: NoInfer<Value>;
	/** How the default reads in the README, where the value itself does not say it. */
	fallbackDoc?: string;
	/** Never shown, not even by `config`. */
	secret?: true;
}

/** A setting with a default. */
export const setting = <Value>(definition: Setting<Value>) => definition;
/** A setting that may be left out. */
export const optional = <Value>(
	definition: Omit<Setting<Value | undefined>, "fallback">,
): Setting<Value | undefined> => ({
	...definition,
	fallback: undefined,
});
