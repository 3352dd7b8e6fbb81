/** The log: JSON lines for programs, and short lines where a person watches the terminal. */
import { inspect } from "node:util";
import { type Logger, pino } from "pino";
import { openLogOutput } from "./log-output.ts";
import { printable } from "./printable.ts";

export type Log = Logger;

const levelNames: Record<number, string> = pino.levels.labels;

/** Fields that every line has, or that a person at a terminal does not need. */
const machineFields = new Set(["level", "time", "pid", "hostname", "msg"]);

/**
 * Opens the log on standard output; `silent` writes nothing but what a child has a level of its own for.
 *
 * @param terminal a person is watching: short lines, times of this day, only warnings and what concerns them.
 * @param moreFields what every line says besides, asked for when it is written.
 */
export function createLog(level: string, terminal: boolean, moreFields?: () => object): Log {
	const options = {
		level,
		...(moreFields && { mixin: moreFields }),
		timestamp: pino.stdTimeFunctions.isoTime,
		// A request or an answer that a route logs as a whole shows neither its headers nor its query.
		serializers: {
			req: ({ method, url }: { method?: string; url?: string }) => ({ method, path: url?.split("?", 1)[0] }),
			res: ({ statusCode }: { statusCode?: number }) => ({ statusCode }),
		},
		// Whatever a caller hands over, these never reach the log.
		redact: {
			paths: ["password", "secret", "token", "authorization", "cookie"],
			censor: "[hidden]",
		},
	};
	if (!terminal) {
		const output = openLogOutput();
		process.on("exit", output.flushSync);
		return pino(options, output);
	}
	return pino(options, {
		write: (line: string) => process.stdout.write(`${readable(line)}\n`),
	});
}

/**
 * One JSON line as a person reads it. What could draw on the screen or turn its letters around is shown escaped: values
 * come from anybody.
 */
function readable(line: string): string {
	const record = JSON.parse(line) as Record<string, unknown>;
	const time = String(record.time).slice(11, 19);
	const level = levelNames[Number(record.level)] ?? "";
	const rest = Object.entries(record)
		.filter(([key]) => !machineFields.has(key))
		.map(
			([key, value]) =>
				`${key}=${typeof value === "string" ? value : inspect(value, { breakLength: Number.POSITIVE_INFINITY })}`,
		);
	return printable([time, level.padEnd(5), record.msg, ...rest].join("  "));
}

/** What routes and Fastify use of a log. */
export type RequestLog = Pick<Log, (typeof methods)[number] | "level">;

const methods = [
	...(["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const),
	...(["child", "bindings", "isLevelEnabled", "flush"] as const),
] as const;

/**
 * The log of one request: a child that carries the request's id and is made with its first line. Most requests write
 * none, and making a child for each of them takes as long as checking its token.
 */
export function requestLog(parent: Log, reqId: string): RequestLog {
	return new LazyLog(parent, reqId) as unknown as RequestLog;
}

/** The methods stand on the prototype, so that a request pays for one small object. */
class LazyLog {
	readonly parent: Log;
	readonly reqId: string;
	made: Log | undefined;

	constructor(parent: Log, reqId: string) {
		this.parent = parent;
		this.reqId = reqId;
		this.made = undefined;
	}

	get level() {
		return (this.made ?? this.parent).level;
	}
}
for (const name of methods)
	Object.defineProperty(LazyLog.prototype, name, {
		value(this: LazyLog, ...values: unknown[]) {
			this.made ??= this.parent.child({ reqId: this.reqId });
			return (this.made[name] as (...values: unknown[]) => unknown)(...values);
		},
	});
