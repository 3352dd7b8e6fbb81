/** How the pages look: colours for light and dark, and the one stylesheet over them. */

/** A set of colours. test/pages/style.test.ts computes their contrast (WCAG 2.2, 1.4.3 and 1.4.11). */
export interface Palette {
	page: string;
	card: string;
	text: string;
	quiet: string;
	/** Around what can be filled in or pressed. */
	edge: string;
	/** Between things: decoration. */
	line: string;
	accent: string;
	onAccent: string;
	danger: string;
	dangerCard: string;
}

export const palettes: Readonly<Record<"light" | "dark", Palette>> = {
	light: {
		page: "#f3f1ec",
		card: "#ffffff",
		text: "#1c2524",
		quiet: "#55615f",
		edge: "#7b8785",
		line: "#e4e1d9",
		accent: "#1b5e52",
		onAccent: "#ffffff",
		danger: "#a1261b",
		dangerCard: "#fdf1ef",
	},
	dark: {
		page: "#121716",
		card: "#1b2221",
		text: "#e9eeec",
		quiet: "#a4b1ae",
		edge: "#74827f",
		line: "#2d3635",
		accent: "#82d0bc",
		onAccent: "#0c211c",
		danger: "#ffa196",
		dangerCard: "#33211f",
	},
};

const variables = (palette: Palette): string =>
	Object.entries(palette)
		.map(([name, colour]) => `--${name}:${colour};`)
		.join("");

/** The stylesheet. It loads nothing: the fonts are the system's. */
export const stylesheet = `
:root { color-scheme: light dark; ${variables(palettes.light)} }
@media (prefers-color-scheme: dark) { :root { ${variables(palettes.dark)} } }
* { box-sizing: border-box; }
body {
	margin: 0; min-height: 100vh; display: flex; flex-direction: column; align-items: center;
	padding: clamp(1.25rem, 9vh, 6rem) 1rem 3rem; background: var(--page); color: var(--text);
	font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", "Apple SD Gothic Neo", sans-serif;
	word-break: keep-all; overflow-wrap: anywhere;
}
header, main { width: 100%; max-width: 23rem; }
.wide header, .wide main { max-width: 42rem; }
header { display: flex; align-items: center; gap: .625rem; margin-bottom: 1.25rem; color: var(--accent); font-weight: 650; letter-spacing: .01em; }
header svg { width: 1.75rem; height: 1.75rem; }
main { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: clamp(1.25rem, 6vw, 2rem); box-shadow: 0 1px 2px #0000000a, 0 12px 32px -12px #0000001f; }
h1 { margin: 0 0 1.5rem; font-size: 1.5rem; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; }
h2 { margin: 2rem 0 .5rem; font-size: 1rem; font-weight: 650; }
p { margin: 0 0 1.25rem; }
label { display: block; margin-bottom: .375rem; font-weight: 550; }
input {
	display: block; width: 100%; min-height: 3rem; margin-bottom: 1.25rem; padding: .5rem .875rem; font: inherit; color: inherit;
	background: var(--card); border: 1px solid var(--edge); border-radius: .625rem;
}
input[aria-invalid] { border-color: var(--danger); }
button, .button {
	display: inline-flex; align-items: center; justify-content: center; min-height: 2.75rem; min-width: 2.75rem; padding: .5rem 1.125rem;
	font: inherit; font-weight: 600; text-decoration: none; cursor: pointer; color: var(--accent); background: transparent;
	border: 1px solid var(--edge); border-radius: .625rem;
}
button:hover, .button:hover { border-color: currentColor; background: color-mix(in srgb, currentColor 6%, transparent); }
button.main, .button.main { color: var(--onAccent); background: var(--accent); border-color: var(--accent); }
button.main:hover, .button.main:hover { background: color-mix(in srgb, var(--accent) 90%, var(--text)); }
button.grave { color: var(--danger); }
form.login button { width: 100%; min-height: 3rem; margin-top: .25rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.problem { padding: .75rem .875rem; color: var(--danger); background: var(--dangerCard); border: 1px solid currentColor; border-radius: .625rem; }
.renewal { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: center; justify-content: space-between; margin-top: 1.5rem; padding: .875rem; border: 1px solid var(--edge); border-radius: .625rem; }
.renewal p { margin: 0; flex: 1 1 14rem; }
.quiet { color: var(--quiet); }
.account { margin: 0; }
.account + h1 { margin-bottom: 0; }
.sessions { list-style: none; margin: 0; padding: 0; }
.sessions li { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: center; justify-content: space-between; padding: 1rem 0; border-top: 1px solid var(--line); }
.sessions li:first-child { border-top: 0; }
.sessions div { flex: 1 1 11rem; min-width: 0; }
.sessions p { margin: 0; font-size: .875rem; }
.sessions .name { font-size: 1rem; font-weight: 600; }
.badge { display: inline-block; margin-inline-start: .5rem; padding: 0 .625rem; font-size: .8125rem; font-weight: 600; color: var(--onAccent); background: var(--accent); border-radius: 1rem; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: no-preference) { button, .button, input { transition: background-color .15s, border-color .15s; } }
`;
