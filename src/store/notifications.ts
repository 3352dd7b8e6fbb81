/**
 * PostgreSQL's LISTEN and NOTIFY as a wake-up, and no more: a notification has no content, can be lost without a word, and
 * nothing depends on it. The table `changes` is the truth, and whoever waits here asks that table anyway.
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Listener, ListenOptions } from "./backend.ts";

const channel = "gatehouse_changes";
/**
 * A notification waits for a lock of the whole server when it commits, where no statement_timeout counts any more. Given up
 * by this side alone it would wait on in the server, and take a connection away with each attempt.
 */
const notify = `set local lock_timeout = 1000; notify ${channel}`;
const connectMs = 1000;
const answerMs = 2000;
/** How often the connection is asked for a sign of life: one that a network swallows stays open and silent for ever. */
const checkMs = 10_000;
/** Replicas that lost the same server do not all come back in the same moment. */
const retryMs = () => 500 + Math.random() * 1000;
/** How soon to try again what cannot work until somebody sets it up otherwise. */
const hopelessMs = 60_000;

/**
 * Sends notifications. Not inside the transaction that has something to tell: PostgreSQL lets transactions that notify
 * commit one after another (measured: 5,600 a second in place of 22,000).
 */
export function createNotifier(pool: Pick<pg.Pool, "query">) {
	let sending: Promise<void> | undefined;
	let again = false;

	async function send(): Promise<void> {
		// What others commit in this turn goes with it.
		await new Promise(setImmediate);
		again = false;
		// A failure is none of the caller's business: who was not woken polls.
		await pool.query(notify).catch(() => {});
		sending = again ? send() : undefined;
	}

	return {
		/** Tells every listener, soon. What is told while a notification is under way goes together into the next one. */
		notify(): void {
			again = true;
			sending ??= send();
		},
		/** Waits for what is under way, so that a command that ends has told what it did. */
		async settled(): Promise<void> {
			while (sending) await sending;
		},
	};
}

/** Listens on a connection of its own, never one of a pool, and connects again whenever it is lost. */
export function openListener(getServer: () => pg.ClientConfig, { onWake, log }: ListenOptions): Listener {
	let client: pg.Client;
	let listening = false;
	let closed = false;
	let warned = false;
	let timer: NodeJS.Timeout;

	function connect(): void {
		const next = new pg.Client({
			...getServer(),
			keepAlive: true,
			connectionTimeoutMillis: connectMs,
			query_timeout: answerMs,
		});
		client = next;
		let lost = false;
		const lose = (error?: unknown, pauseMs = retryMs()) => {
			if (lost || closed) return;
			lost = true;
			clearTimeout(timer);
			if (listening) log.warn({ err: error }, "notifications of changes do not arrive; changes are polled");
			listening = false;
			void next.end().catch(() => {});
			timer = setTimeout(connect, pauseMs);
		};
		const check = () => {
			timer = setTimeout(() => void next.query("show transaction_read_only").then(goOn, lose), checkMs);
		};
		const goOn = ({ rows: [row] }: pg.QueryResult<{ transaction_read_only: string }>) => {
			// After a failover the old server may live on, and nobody notifies there.
			if (row?.transaction_read_only === "on") lose(new Error("the database takes no writes"));
			else check();
		};
		/** Nothing arrives here, whatever is told: said once. */
		const giveUp = () => {
			const hint = "set DATABASE_LISTEN_URL to the server itself, or to off";
			if (!warned) log.warn(`notifications of changes do not arrive through this pooler; changes are polled: ${hint}`);
			warned = true;
			lose(undefined, hopelessMs);
		};
		next.on("error", (error) => lose(error));
		next.on("end", () => lose());
		next.on("notification", onWake);
		next
			.connect()
			.then(() => listen(next, getServer))
			.then((arrive) => {
				if (lost || closed) return;
				if (!arrive) return giveUp();
				listening = true;
				log.info("notifications of changes arrive");
				// What was told while nobody listened is lost.
				onWake();
				check();
			})
			.catch((error) => lose(error));
	}

	connect();
	return {
		listening: () => listening,
		async close() {
			closed = true;
			listening = false;
			clearTimeout(timer);
			// A network that swallows everything swallows the goodbye, too.
			await Promise.race([client.end().catch(() => {}), sleep(connectMs, undefined, { ref: false })]);
		},
	};
}

/**
 * Listens; answers whether what is told arrives at a client that listens. Connected to the server itself, as the process that answers shows, it
 * does. A pooler that gives each transaction another connection takes LISTEN without a word, and then nothing comes: there
 * somebody else has to tell something. Telling it oneself would prove nothing, it may be the same connection once more.
 */
async function listen(client: pg.Client, getServer: () => pg.ClientConfig): Promise<boolean> {
	const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
	await client.query(`listen ${channel}`);
	if (rows[0]?.pid === (client as unknown as { processID: number }).processID) return true;
	const ending = new AbortController();
	const heard = Promise.race([
		once(client, "notification", ending).then(() => true),
		sleep(answerMs, false, ending),
	]).catch(() => false);
	const other = new pg.Client({ ...getServer(), connectionTimeoutMillis: connectMs, query_timeout: answerMs });
	other.on("error", () => {});
	try {
		await other.connect();
		await other.query(notify);
		return await heard;
	} finally {
		ending.abort();
		void other.end().catch(() => {});
	}
}
