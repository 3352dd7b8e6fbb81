/** Passwords given from any address, by any device, at an application whose limits are on. */
import type { Test } from "tap";
import { form, type TestApp, type TestAppOptions, testApp } from "./app.ts";

/** An application that limits guesses, behind a proxy that says who asks. */
export const limited = (t: Test, options: TestAppOptions = {}) =>
	testApp(t, { ...options, settings: { LOGIN_LIMITS: "on", TRUST_PROXY: "127.0.0.1", ...options.settings } });

/** Posts the login form from an address, as the proxy in front would pass it on. */
export const from = (
	{ app }: TestApp,
	address: string,
	username: string,
	password = "wrong password",
	device?: string,
) =>
	app.inject({
		method: "POST",
		url: "/login",
		payload: form({ username, password }).payload,
		headers: {
			...form({}).headers,
			"x-forwarded-for": address,
			...(device === undefined ? {} : { "x-device-token": device }),
		},
	});

/** Passwords compared so far. */
export const spent = ({ services }: TestApp): number => services.passwords.stats().work.verify;

/** Guesses until an account lets strangers try no more for 15 minutes, each time from another network. */
export async function burn(house: TestApp, username: string): Promise<void> {
	for (let count = 0; count < 200; count++) {
		const answer = await from(house, `198.19.${count}.1`, username, `wrong password ${count}`);
		const wait = Number(answer.headers["retry-after"] ?? 0);
		if (wait >= 900) return;
		house.clock.advance(wait);
	}
	throw new Error(`${username} is not limited`);
}
