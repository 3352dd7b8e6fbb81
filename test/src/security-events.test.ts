/** Security events: the log's line, the stored row, and what a flood or an outage may do to them (rows G01 to G03). */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { errors } from "../../src/errors.ts";
import { securityEvents } from "../../src/security-events/events.ts";
import { openSecurityEvents } from "../../src/security-events/recorder.ts";
import type { StoredEvent } from "../../src/security-events/stored.ts";
import { createFakeClock, form, goodPassword, type TestApp, testApp } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

const nextPassword = "walnut harbour sixteen lanterns";

/** Every stored event so far. */
async function storedOf({ services }: TestApp): Promise<StoredEvent[]> {
	await services.securityEvents.flush();
	const all: StoredEvent[] = [];
	for await (const page of services.storedEvents.list({ since: 0 })) all.push(...page);
	return all;
}

onEachStore((kind) => {
	t.test(`${kind}: G01: every success and every refusal is a line and a row, found by the request's id`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { app } = house;
		const user = await house.addUser("ada");
		const send = (url: string, fields: Record<string, string>, token?: string) => {
			const { payload, headers } = form(fields);
			const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
			return app.inject({ method: "POST", url, payload, headers: { ...headers, ...bearer } });
		};
		const begin = async () => {
			const answer = await house.login("ada");
			const { access_token: access, refresh_token: refresh } = answer.json<Record<string, string>>();
			const sid = JSON.parse(Buffer.from(String(access).split(".")[1] ?? "", "base64url").toString()).sid as string;
			return { answer, access: String(access), refresh: String(refresh), sid };
		};
		/** What is known of one request, in the log and in the store. */
		const check = async (
			answer: { statusCode: number; headers: Record<string, unknown> },
			event: keyof typeof securityEvents,
			facts: Record<string, unknown>,
		) => {
			const id = answer.headers["x-request-id"];
			const { outcome, message } = securityEvents[event];
			t.equal(answer.statusCode < 400, outcome === "success", `${event}: ${answer.statusCode}`);
			const lines = house.logged.filter(({ reqId }) => reqId === id);
			t.equal(lines.length, 1, `${event}: one line`);
			t.match(lines[0], { event, outcome, msg: message, address: "127.0.0.1", ...facts });
			const rows = (await storedOf(house)).filter(({ request_id }) => request_id === id);
			if (event === "refresh") {
				t.same(rows, [], "a good refresh is a line only");
				return;
			}
			t.equal(rows.length, 1, `${event}: one row`);
			const { user: user_id = null, session: session_id = null, ...more } = facts;
			t.match(rows[0], { event, outcome, user_id, session_id, address: "127.0.0.1", at: house.clock.now() });
			t.match(JSON.parse(rows[0]?.details ?? ""), more);
		};
		const one = await begin();
		const two = await begin();
		await check(one.answer, "login", { user, session: one.sid });
		await check(await house.login("ada", "wrong"), "login_refused", { user, reason: "wrong password" });
		await check(await house.login("nobody"), "login_refused", { reason: "no such account" });
		await check(await send("/reauthenticate", { password: goodPassword }, one.access), "reauthentication", {
			...{ user, session: one.sid },
		});
		await check(await send("/reauthenticate", { password: "wrong" }, one.access), "reauthentication_refused", {
			...{ user, session: one.sid, reason: "wrong password" },
		});
		await check(await send("/refresh", { refresh_token: two.refresh }), "refresh", { user, session: two.sid });
		house.clock.advance(kind === "sqlite" ? 11 : 0);
		const again = await send("/refresh", { refresh_token: two.refresh });
		// PostgreSQL has its own clock: there the token before the newest one is still good.
		if (kind === "postgres") await check(again, "refresh", { user, session: two.sid });
		else await check(again, "refresh_token_reuse", { user, session: two.sid, generation: 1, given: 0 });
		await check(await send("/refresh", { refresh_token: "nonsense" }), "refresh_token_refused", {});
		const three = await begin();
		await check(await send("/revoke", { token: three.access }, one.access), "token_revoked", {
			...{ user, session: three.sid, jti: /^[\w-]{22}$/ },
		});
		await check(await send("/revoke", { token: three.refresh }, one.access), "token_revoked", {
			...{ user, session: three.sid },
		});
		const four = await begin();
		const end = { method: "DELETE" as const, headers: { authorization: `Bearer ${one.access}` } };
		await check(await app.inject({ ...end, url: `/sessions/${four.sid}` }), "session_ended", {
			...{ user, session: four.sid },
		});
		const five = await begin();
		await check(await send("/logout", {}, five.access), "logout", { user, session: five.sid });
		await check(await send("/refresh", { refresh_token: five.refresh }), "refresh_token_refused", {
			...{ session: five.sid, reason: "its session has ended" },
		});
		const change = (current_password: string) =>
			send("/password", { current_password, new_password: nextPassword }, one.access);
		await check(await change("wrong"), "password_change_refused", { user, session: one.sid, reason: "wrong password" });
		await check(await change(goodPassword), "password_changed", { user, session: one.sid });
		await check(await send("/logout/all", {}, one.access), "logout_everywhere", { user, session: one.sid });
		await house.services.users.setDisabled(user, true);
		await check(await house.login("ada", nextPassword), "login_refused", { user, reason: "disabled account" });
		t.match((await storedOf(house))[0], { event: "key_active", address: null }, "the first key is an event, too");
	});

	t.test(`${kind}: G03: of a name that nobody has nothing is stored`, async (t) => {
		const house = await testApp(t, { store: kind });
		await house.login("kanarie4711", "kanarie4712");
		const rows = JSON.stringify(await storedOf(house));
		t.match(rows, "no such account");
		t.notMatch(rows, /kanarie/);
	});

	t.test(`${kind}: rows leave after SECURITY_EVENT_DAYS, and are read page by page`, async (t) => {
		const house = await testApp(t, { store: kind });
		const { storedEvents, store } = house.services;
		const now = await store.now();
		const row = (index: number, at: number): StoredEvent => ({
			...{ id: `row-${String(index).padStart(5, "0")}`, at, event: "login", outcome: "success" },
			...{ user_id: index % 2 ? "odd" : "even", session_id: null, address: null, request_id: null, details: "{}" },
		});
		const rows = Array.from({ length: 1200 }, (_, index) => row(index, now - 1200 + index));
		await storedEvents.insert(rows);
		await storedEvents.insert(rows.slice(0, 5));
		const read = async (userId?: string) => {
			const ids: string[] = [];
			for await (const page of storedEvents.list({ userId, since: now - 1200 }))
				ids.push(...page.map(({ id }) => id).filter((id) => id.startsWith("row-")));
			return ids;
		};
		t.same(
			await read(),
			rows.map(({ id }) => id),
			"each once, in order",
		);
		t.equal((await read("odd")).length, 600);
		await storedEvents.insert([row(2000, now - 90 * 86_400 - 5), row(2001, now - 90 * 86_400 + 60)]);
		t.equal(await storedEvents.purge(90), 1);
		t.equal(await storedEvents.purge(90), 0);
	});
});

/** A recorder over a table in memory. */
function recorder(insert: (rows: readonly StoredEvent[]) => Promise<void>) {
	const clock = createFakeClock(1_800_000_000 - (1_800_000_000 % 60));
	const stored = { insert } as unknown as Parameters<typeof openSecurityEvents>[0]["stored"];
	const lines: Record<string, unknown>[] = [];
	const write = (facts: Record<string, unknown> | string, msg?: string) =>
		void lines.push(typeof facts === "string" ? { msg: facts } : { ...facts, msg });
	const log = { info: write, warn: write, error: write } as never;
	return { clock, lines, events: openSecurityEvents({ stored, clock, log }) };
}

t.test("a flood of refused logins is stored as sixty rows a minute and one that counts the rest", async (t) => {
	const rows: StoredEvent[] = [];
	const { clock, lines, events } = recorder(async (more) => void rows.push(...more));
	const flood = () => events.record({ event: "login_refused", reason: "wrong password", user: "ada" });
	for (let index = 0; index < 1000; index++) flood();
	events.record({ event: "login", user: "bob", session: "one" });
	events.settle();
	await events.flush();
	t.equal(rows.length, 61, "others are stored as ever");
	clock.advance(60);
	events.settle();
	await events.flush();
	t.match(rows.at(-1), { event: "login_refused", user_id: null, details: '{"more":940}' });
	flood();
	await events.close();
	t.equal(rows.length, 63, "the next minute begins anew");
	t.equal(lines.length, 1002, "the log has them all");
});

t.test("a client that succeeds in a loop is stored as sixty rows a minute, and hides nobody else", async (t) => {
	const rows: StoredEvent[] = [];
	const { clock, lines, events } = recorder(async (more) => void rows.push(...more));
	const origin = { id: "a request", ip: "192.0.2.1" };
	const revoke = (user: string) => events.record({ event: "token_revoked", user, session: "one" }, origin);
	for (let index = 0; index < 1000; index++) revoke("ada");
	revoke("bob");
	const reuse = { user: "ada", session: "one", reason: "used again", generation: 2, given: 1 };
	for (let index = 0; index < 100; index++) events.record({ event: "refresh_token_reuse", ...reuse }, origin);
	for (let index = 0; index < 100; index++) events.record({ event: "account_disabled", user: "ada" });
	await events.flush();
	const count = (name: string, user: string) =>
		rows.filter(({ event, user_id }) => event === name && user_id === user).length;
	t.equal(count("token_revoked", "ada"), 60);
	t.equal(count("token_revoked", "bob"), 1);
	t.equal(count("refresh_token_reuse", "ada"), 100, "a theft is always stored");
	t.equal(count("account_disabled", "ada"), 100, "and what a command does");
	clock.advance(60);
	events.settle();
	await events.flush();
	t.match(rows.at(-1), { event: "token_revoked", outcome: "success", user_id: "ada", details: '{"more":940}' });
	t.equal(rows.length, 262);
	revoke("ada");
	events.settle();
	t.equal(await events.close(), 0);
	t.equal(rows.length, 263, "the next minute begins anew, and has nothing to add");
	t.equal(lines.length, 1202, "the log has them all");
});

t.test("while the store is away rows wait, up to a bound; what is lost is counted, and nobody fails", async (t) => {
	const rows: StoredEvent[] = [];
	let away = true;
	const { lines, events } = recorder(async (more) => {
		if (away) throw new errors.STORE_UNAVAILABLE();
		rows.push(...more);
	});
	const login = () => events.record({ event: "login", user: "ada", session: "one" });
	for (let index = 0; index < 10_003; index++) login();
	await events.flush();
	await events.flush();
	const said = () => lines.filter(({ msg }) => /security events/.test(String(msg)));
	t.match(said(), [{ waiting: 10_000 }, { msg: "security events cannot be stored; they wait" }], "each is said once");
	t.match(events.stats(), { waiting: 10_000, dropped: 3, recorded: { login: 10_003 } });
	away = false;
	await events.flush();
	t.equal(rows.length, 10_000);
	t.equal(new Set(rows.map(({ id }) => id)).size, 10_000);
	t.match(said().slice(2), [{ msg: "security events are stored again" }, { dropped: 3 }]);
	away = true;
	login();
	t.equal(await events.close(), 4, "all that was lost");
	t.match(
		said().at(-1),
		{ dropped: 1, msg: /the process ends/ },
		"the end does not wait for ever, and says what it leaves",
	);
});

t.test("rows that the store refuses for good do not hold up the others", async (t) => {
	const rows: StoredEvent[] = [];
	let broken = true;
	const { lines, events } = recorder(async (more) => {
		if (broken) throw new Error("value too long");
		rows.push(...more);
	});
	events.record({ event: "login", user: "ada", session: "one" });
	await events.flush();
	broken = false;
	events.record({ event: "login", user: "bob", session: "two" });
	await events.close();
	t.match(rows, [{ user_id: "bob" }]);
	t.match(
		lines.find(({ dropped }) => dropped === 1),
		{ msg: "security events were not stored" },
	);
});

t.test("the table of docs/operations.md is the union of events", async (t) => {
	const page = readFileSync(join(resolve(import.meta.dirname, "../.."), "docs/operations.md"), "utf8");
	const section = page.split("\n## Security events\n")[1]?.split("\n## ")[0] ?? "";
	const rows = section.split("\n\n| event |")[1]?.split("\n\n")[0]?.split("\n").slice(2);
	const expected = Object.entries(securityEvents).map(([name, { outcome, message, always, sometimes }]) => {
		const facts = [...always.map((fact) => `\`${fact}\``), ...sometimes.map((fact) => `\`${fact}\`?`)];
		return `| \`${name}\` | ${outcome} | ${message} | ${facts.join(", ")} |`;
	});
	t.same(rows, expected);
});
