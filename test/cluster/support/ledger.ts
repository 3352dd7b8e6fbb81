/**
 * A user who remembers everything that the service has acknowledged, and can say later whether all of it is still true:
 * sessions, refreshes, logouts, revocations and passwords. What broke off in the middle may be either way.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import { rootAccount, type TokenPair } from "../../support/process.ts";
import { type Answer, broke, createClient, type Sending } from "./load.ts";

export type Ledger = ReturnType<typeof createLedger>;

/** One user who acts, one thing after the other. */
export function createLedger(url: string, username: string) {
	const client = createClient();
	let passwords = [rootAccount.BOOTSTRAP_PASSWORD];
	let live: TokenPair[] = [];
	let ended: TokenPair[] = [];
	let count = 0;
	let acting = false;
	let turn: Promise<void> = Promise.resolve();
	const outcomes = new Map<string, number>();

	/** The answer, or nothing where it cannot be known what became of it. */
	async function act(what: string, path: string, sending: Sending): Promise<Answer | undefined> {
		const answer = await client.send(`${url}${path}`, sending).catch(broke);
		const outcome = typeof answer === "string" ? answer : answer.status;
		outcomes.set(`${what} ${outcome}`, (outcomes.get(`${what} ${outcome}`) ?? 0) + 1);
		return typeof answer === "string" || answer.status >= 500 ? undefined : answer;
	}

	const acts = {
		async login() {
			const answer = await act("login", "/login", { fields: { username, password: passwords[0] ?? "" } });
			if (answer?.status === 200) live.push(answer.json<TokenPair>());
			return answer;
		},
		async refresh() {
			const pair = live.shift();
			if (!pair) return acts.login();
			const answer = await act("refresh", "/refresh", { fields: { refresh_token: pair.refresh_token } });
			if (answer?.status === 200) live.push(answer.json<TokenPair>());
			return answer;
		},
		async logout() {
			const pair = live.shift();
			if (!pair) return acts.login();
			const answer = await act("logout", "/logout", { token: pair.access_token, fields: {} });
			if (answer?.status === 204) ended.push(pair);
			return answer;
		},
		async revoke() {
			const pair = live.shift();
			if (!pair) return acts.login();
			const fields = { token: pair.refresh_token };
			const answer = await act("revoke", "/revoke", { token: pair.access_token, fields });
			if (answer?.status === 200) ended.push(pair);
			return answer;
		},
		async password() {
			const pair = live[0];
			if (!pair) return acts.login();
			const next = `copper thistle meridian ${count} ${Math.random()}`;
			const fields = { current_password: passwords[0] ?? "", new_password: next };
			const answer = await act("password", "/password", { token: pair.access_token, fields });
			// It ends every other session. Where nobody knows whether it happened, either password may be the one.
			const changed = answer?.status === 204;
			if (changed) ended.push(...live.splice(1));
			else if (answer === undefined) live = [];
			if (changed) passwords = [next];
			else if (answer === undefined) passwords.push(next);
			return answer;
		},
	};
	const order = [
		"login",
		"refresh",
		"refresh",
		"login",
		"refresh",
		"logout",
		"refresh",
		"revoke",
		"refresh",
		"password",
	] as const;

	return {
		username,
		outcomes,
		/** Acts until `rest`. */
		begin(): void {
			acting = true;
			turn = (async () => {
				while (acting) {
					const answer = await acts[order[count++ % order.length] ?? "login"]();
					if (answer === undefined || answer.status >= 400) await sleep(50);
				}
			})();
		},
		/** Stops, once the last answer has come or is given up. */
		async rest(): Promise<void> {
			acting = false;
			await turn;
		},
		/** Whether everything that was acknowledged is true. What was looked at is forgotten, but for what still lives. */
		async check(t: Test): Promise<number> {
			const wrong: string[] = [];
			const settled = passwords.length === 1;
			const found: string[] = [];
			const statuses: number[] = [];
			for (const password of passwords) {
				const answer = await client.send(`${url}/login`, { fields: { username, password } });
				statuses.push(answer.status);
				if (answer.status === 200) found.push(password);
				else if (settled) wrong.push(`the password it was given: ${answer.status}`);
			}
			if (found.length !== 1)
				wrong.push(`${found.length} of ${passwords.length} possible passwords work: ${statuses.join(", ")}`);
			passwords = found;
			const still: TokenPair[] = [];
			for (const { refresh_token } of live) {
				const answer = await client.send(`${url}/refresh`, { fields: { refresh_token } });
				if (answer.status === 200) still.push(answer.json<TokenPair>());
				else wrong.push(`a session that lives: ${answer.status} ${answer.body}`);
			}
			for (const { access_token, refresh_token } of ended) {
				const answer = await client.send(`${url}/protected`, { token: access_token });
				if (answer.status !== 401) wrong.push(`an access token of an ended session: ${answer.status}`);
				const refreshed = await client.send(`${url}/refresh`, { fields: { refresh_token } });
				if (refreshed.status !== 401) wrong.push(`a refresh token of an ended session: ${refreshed.status}`);
			}
			t.same(wrong, [], `${username}: everything that was acknowledged is true`);
			const checked = live.length + ended.length + 1;
			live = still.slice(-3);
			ended = [];
			return checked;
		},
		close: client.close,
	};
}
