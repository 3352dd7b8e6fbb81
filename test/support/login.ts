/** What tests of `POST /login` send, and what they look at in its answers. */
import type { LightMyRequestResponse } from "fastify";
import type { Test } from "tap";
import type { TestApp } from "./app.ts";

export const formType = "application/x-www-form-urlencoded";

/** Posts a body as it stands. */
export const post = ({ app }: TestApp, payload: string, contentType: string | undefined = formType, url = "/login") =>
	app.inject({
		method: "POST",
		url,
		payload,
		headers: contentType === undefined ? {} : { "content-type": contentType },
	});

/** Everything a client can tell two answers apart by. */
export function visible({ statusCode, headers, body }: LightMyRequestResponse) {
	const { date, "x-request-id": id, ...rest } = headers;
	return { statusCode, headers: rest, body };
}

/** The hashes that a call takes, in units of one at the current cost. */
export async function work({ services }: TestApp, call: () => Promise<unknown>): Promise<number> {
	const spent = () => {
		const { hash, verify } = services.passwords.stats().work;
		return hash + verify;
	};
	const before = spent();
	await call();
	return spent() - before;
}

export function refused(t: Test, answer: LightMyRequestResponse, statusCode: number, code: string, what: string): void {
	t.match(answer.json(), { statusCode, code }, what);
	t.notMatch(answer.body, /access_token/, `${what}: no token`);
	t.equal(answer.headers["set-cookie"], undefined, `${what}: no cookie`);
}

export const storedHash = async ({ services }: TestApp, username: string): Promise<string> =>
	(await services.users.findCredentials({ username }))?.password.hash ?? "";
