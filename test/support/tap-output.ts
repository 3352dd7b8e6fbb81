/** What tap's raw output says. */

/** It ends with `# { total: 4, pass: 3, fail: 1 }`. */
export const countsIn = (output: string): { passed: number; failed: number } => {
	const summary = output.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? "";
	const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
	return { passed: count("pass"), failed: count("fail") };
};

/** What failed, with its diagnostics. */
export const failuresIn = (output: string): string =>
	output
		.match(/^ *Bail out!.*|^( *)not ok (?!.*# (?:SKIP|TODO)).*(?:\n\1 {2}---\n[\s\S]*?\n\1 {2}\.\.\.$)?/gm)
		?.join("\n") ?? "";
