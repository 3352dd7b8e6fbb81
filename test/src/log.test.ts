/** The log: JSON lines for programs, safe short lines for a person at a terminal. */
import t, { type Test } from "tap";
import { createLog } from "../../src/log.ts";

/** What a person sees of one call. */
function seen(t: Test, write: (log: ReturnType<typeof createLog>) => void, level = "info"): string {
	let text = "";
	const { write: original } = process.stdout;
	t.teardown(() => {
		process.stdout.write = original;
	});
	process.stdout.write = ((part: string) => {
		text += part;
		return true;
	}) as typeof original;
	try {
		write(createLog(level, true));
	} finally {
		process.stdout.write = original;
	}
	return text;
}

t.test("a line at a terminal has the time, the level, the message and the facts, and none for machines", async (t) => {
	const line = seen(t, (log) => log.warn({ code: "BUSY", count: 3, list: ["a"] }, "request refused"));
	t.match(line, /^\d\d:\d\d:\d\d {2}warn {3}request refused {2}code=BUSY {2}count=3 {2}list=\[ 'a' \]\n$/);
	t.equal(
		seen(t, (log) => log.debug("too quiet")),
		"",
	);
	t.equal(
		seen(t, (log) => log.fatal("x"), "silent"),
		"",
	);
});

t.test("no value can draw on the screen of whoever reads the log", async (t) => {
	const drawing = [
		"\u001b[2J",
		"\u009b31m",
		"\r",
		"\n",
		"\u0007",
		"\u007f",
		"\b",
		"\u202e",
		"\u2066",
		"\u2028",
		"\u0000",
	];
	for (const text of drawing) {
		const lines = seen(t, (log) => {
			log.info({ user: `a${text}b`, nested: { text }, list: [text] }, `message ${text}`);
			log.error({ err: new Error(text) }, "failed");
			log.info({ [`name${text}`]: 1 }, "a name");
		});
		const code = text.charCodeAt(0).toString(16).padStart(4, "0");
		t.equal(lines.split("\n").length, 4, `U+${code} makes no new line`);
		t.notOk(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u.test(lines.replaceAll("\n", "")), "nothing that draws is left");
		t.ok(lines.includes(`user=a\\u${code}`), "it is shown escaped");
	}
	t.match(
		seen(t, (log) => log.info({ user: "zoë 王" }, "ok")),
		/user=zoë 王/,
		"letters stay letters",
	);
});

t.test("secrets that a caller hands over by mistake are hidden", async (t) => {
	for (const name of ["password", "secret", "token", "authorization", "cookie"]) {
		const line = seen(t, (log) => log.info({ [name]: "hidden-word" }, "x"));
		t.notMatch(line, /hidden-word/, name);
		t.match(line, `${name}=[hidden]`);
	}
});
