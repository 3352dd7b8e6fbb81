/**
 * Where the log's lines go: standard output, which may be a pipe whose reader has stopped, a pipe without a reader, or a
 * file on a full disk. None of them holds a request up or ends the process. Lines wait in a bounded buffer; what does
 * not fit, or cannot be written, is dropped and counted, and the log says so as soon as it can.
 */
import { fstatSync, writeFileSync } from "node:fs";

/** Letters that wait for a reader: some thousand lines. */
const mostWaiting = 2 ** 20;

const standardOutput = 1;

let droppedInAll = 0;
/** How many lines this process has lost so far. */
export const droppedLines = (): number => droppedInAll;

/** Hands lines over to the system, and calls back when it has them or never will. */
type Put = (text: string, done: (error?: Error | null) => void) => void;

/**
 * Opens standard output for the log. The lines of one turn of the event loop are written together.
 *
 * @param put for tests: what takes the lines.
 */
export function openLogOutput({ put = putOnStandardOutput() }: { put?: Put } = {}) {
	let waiting = "";
	let scheduled = false;
	let dropped = 0;
	/** The lines that the system has not taken yet. */
	let inFlight: string | undefined;
	/** The last line may have been cut: the next one must not go on behind it. */
	let isCut = false;
	let onEmpty: (() => void)[] = [];

	function write(line: string): void {
		if (waiting.length + line.length > mostWaiting) {
			drop(1);
			return;
		}
		waiting += line;
		if (scheduled || inFlight !== undefined) return;
		scheduled = true;
		setImmediate(pass);
	}

	/** Passes on what waits, unless something is still on its way. */
	function pass(): void {
		scheduled = false;
		if (inFlight !== undefined) return;
		if (waiting === "") {
			for (const done of onEmpty) done();
			onEmpty = [];
			return;
		}
		inFlight = waiting;
		waiting = "";
		put(isCut ? `\n${inFlight}` : inFlight, (error) => {
			if (error) drop((inFlight ?? "").split("\n").length - 1);
			isCut = Boolean(error);
			inFlight = undefined;
			// After a failure only with the next line: a closed pipe would be tried for ever.
			if (!error && dropped > 0) sayDropped();
			if (!error || waiting !== "" || onEmpty.length > 0) pass();
		});
	}

	function drop(lines: number): void {
		dropped += lines;
		droppedInAll += lines;
	}

	function sayDropped(): void {
		const time = new Date().toISOString();
		waiting += `${JSON.stringify({ level: 50, time, pid: process.pid, dropped, msg: "lines of the log were dropped: nobody took them" })}\n`;
		dropped = 0;
	}

	return {
		write,

		/** Calls back when everything was written, or could not be. */
		flush(done: (error?: Error) => void = () => {}): void {
			onEmpty.push(() => done());
			pass();
		},

		/** Writes what waits at once, as far as the system takes it: for the last moment of a process. */
		flushSync: pass,
	};
}

/** A pipe or a socket without waiting; a file or a device, which takes everything or fails, at once. */
function putOnStandardOutput(): Put {
	const kind = fstatSync(standardOutput);
	if (!kind.isFIFO() && !kind.isSocket())
		return (text, done) => {
			try {
				writeFileSync(standardOutput, text);
				done();
			} catch (error) {
				done(error as Error);
			}
		};
	// Each write has its own callback, but unheard the event of a broken pipe would end the process.
	process.stdout.on("error", () => {});
	return (text, done) => process.stdout.write(text, done);
}
