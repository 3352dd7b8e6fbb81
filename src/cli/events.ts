/** The command that shows security events. */
import { printable } from "../printable.ts";
import type { StoredEvent } from "../security-events/stored.ts";
import { type Accounts, type Call, none, time, UsageError } from "./words.ts";

/** Without a time: the last day. */
const daySeconds = 86_400;
/** What `randomId` makes: the events of a deleted account are asked for by its id. */
const idShape = /^[\w-]{22}$/;

/** Prints events as they come from the store, the oldest first: a line each, or with `json` an object each. */
export async function printEvents(
	{ storedEvents, store, users }: Accounts,
	{ words, user, since }: Call,
	print: (line: { text: string; json: unknown }) => Promise<void>,
): Promise<void> {
	none(words);
	const from = since === undefined ? (await store.now()) - daySeconds : secondsOf(since);
	const userId = user === undefined ? undefined : await idOf(users, user);
	for await (const page of storedEvents.list({ userId, since: from }))
		for (const event of page) await print({ text: readable(event), json: shown(event) });
}

/** An event as programs get it. Names and meanings stay; new ones may come. */
function shown({ id, at, event, outcome, user_id, session_id, address, request_id, details }: StoredEvent) {
	const facts = JSON.parse(details) as Record<string, unknown>;
	return { id, at, event, outcome, user: user_id, session: session_id, address, requestId: request_id, details: facts };
}

function readable(stored: StoredEvent): string {
	const { at, event, outcome, user, session, address, requestId, details } = shown(stored);
	const facts = Object.entries({ user, session, address, request: requestId, ...details })
		.filter(([, value]) => value !== null)
		.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
	return printable([time(at), outcome.padEnd(7), event, ...facts].join("  "));
}

async function idOf(users: Accounts["users"], word: string): Promise<string> {
	try {
		return (await users.getByName(word)).id;
	} catch (error) {
		if (idShape.test(word)) return word;
		throw error;
	}
}

/** A date is the midnight in UTC at which it begins, and so is a time without a zone. */
function secondsOf(text: string): number {
	const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text);
	const zone = text.includes("T") && !/(Z|[+-]\d\d:\d\d)$/.test(text) ? "Z" : "";
	const milliseconds = isTime ? Date.parse(text + zone) : Number.NaN;
	if (Number.isNaN(milliseconds)) throw new UsageError("--since takes a time such as 2026-11-23 or 2026-11-23T18:00Z");
	return Math.floor(milliseconds / 1000);
}
