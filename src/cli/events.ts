/** The command that shows security events. */
import { daySeconds } from "../clock.ts";
import { printable } from "../printable.ts";
import { isId } from "../random.ts";
import type { StoredEvent } from "../security-events/stored.ts";
import { type Accounts, type Call, type Context, readTime, time, UsageError } from "./words.ts";

/** Prints events as they come from the store, the oldest first: a line each, or with `--json` an object each. */
export async function printEvents(
	{ storedEvents, store, users }: Accounts,
	{ options: { user, since } }: Call,
	{ print }: Context,
): Promise<undefined> {
	const from = since === undefined ? (await store.now()) - daySeconds : timeOf(since);
	const userId = user === undefined ? undefined : await idOf(users, user);
	for await (const page of storedEvents.list({ userId, since: from }))
		for (const event of page) await print({ text: readable(event), json: shown(event) });
}

/** An event as programs get it. Names and meanings stay; new ones may come. */
function shown({ id, at, event, outcome, user_id, session_id, address, request_id, details }: StoredEvent) {
	const facts = JSON.parse(details) as Record<string, unknown>;
	return { id, at, event, outcome, user: user_id, session: session_id, request: request_id, address, details: facts };
}

function readable(stored: StoredEvent): string {
	const { at, event, outcome, user, session, address, request, details } = shown(stored);
	const facts = Object.entries({ user, session, address, request, ...details })
		.filter(([, value]) => value !== null)
		.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
	return printable([time(at), outcome.padEnd(7), event, ...facts].join("  "));
}

/** A date is the midnight in UTC at which it begins. */
function timeOf(text: string): number {
	const seconds = readTime(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00Z` : text);
	if (seconds === undefined) throw new UsageError("--since takes a date or a time such as 2026-11-23T18:00Z");
	return Math.floor(seconds);
}

async function idOf(users: Accounts["users"], word: string): Promise<string> {
	try {
		return (await users.getByName(word)).id;
	} catch (error) {
		// The events of a deleted account are asked for by its id.
		if (isId(word)) return word;
		throw error;
	}
}
