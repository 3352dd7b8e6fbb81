/** What a checked password comes to: whose device it was, and what the log may know of a refusal. */
import { errors } from "./errors.ts";
import { refusal } from "./security-events/events.ts";
import type { NamedDevice } from "./throttle/device-token.ts";
import type { Credentials } from "./users/stored-passwords.ts";

/** The device where its token is of this very account, and not void. Whether it has ended the store's clock says. */
export const ownDevice = (device: NamedDevice | undefined, found: Credentials | undefined): NamedDevice | undefined =>
	device && device.userId === found?.id && device.generation === found.deviceGeneration ? device : undefined;

/** What the log may know of a refused login, and the client may not. */
export function loginRefusal(found: Credentials | undefined): Error {
	if (!found) return refusal({ event: "login_refused", reason: "no such account" });
	const reason = found.disabled ? "disabled account" : "wrong password";
	return refusal({ event: "login_refused", reason, user: found.id });
}

/** The answer to a wrong password of somebody who is logged in. */
export function wrongPassword(
	event: "password_change_refused" | "reauthentication_refused",
	{ userId: user, sessionId: session }: { userId: string; sessionId: string },
): Error {
	return new errors.INVALID_CURRENT_PASSWORD({ cause: refusal({ event, reason: "wrong password", user, session }) });
}
