/** Texts from anybody, as they may stand on a person's terminal. */

/** What could draw on the screen or turn letters around is shown escaped. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, escaped);

/** Written out, because JSON leaves the controls from U+007F to U+009F as they are, and one of them begins a sequence. */
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
