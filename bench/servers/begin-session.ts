/** A session for the tokens that a benchmark presents, begun without comparing a password. */
import type { Services } from "../../src/services.ts";
import type { Session } from "../../src/sessions/session.ts";

/** Begins a session of this account, as if its password had just been given. */
export async function beginSession({ sessions, users }: Services, userId: string): Promise<Session> {
	const { hash = "" } = (await users.findCredentials({ id: userId }))?.password ?? {};
	const session = await sessions.begin(userId, { userAgent: "bench", address: "127.0.0.1" }, hash);
	if (!session) throw new Error(`no session for ${userId}`);
	return session;
}
