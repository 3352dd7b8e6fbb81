/** How often and how long: all of it with `ROUNDS=full`, a tenth with `ROUNDS=ci`, which is the default. */
export const full = process.env.ROUNDS === "full";

/** Of this many rounds, those to run now: a tenth of them in CI, at least one. */
export const rounds = (count: number): number => (full ? count : Math.max(1, Math.round(count / 10)));

/** Says on standard error how far a long test is. Standard output belongs to the test's results. */
export const progress = (text: string): void => void process.stderr.write(`      ${text}\n`);
