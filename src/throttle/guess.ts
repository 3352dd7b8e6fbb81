/** What the limits are asked, and what they answer. */
import type { Origin } from "../security-events/recorder.ts";
import type { NamedDevice } from "./device-token.ts";

/** A password that somebody gives, and what is known of who does. */
export interface Guess {
	/** In canonical form; whether an account has it makes no difference. */
	username: string;
	/** In normal form. */
	password: string;
	/** Where it comes from: the address counts, both go into security events. */
	origin: Origin;
	/** The device that a good token names, of this very account. */
	device: NamedDevice | undefined;
	/** For security events. */
	userId: string | undefined;
	/** Whether the account is disabled: then its right password, too, is answered as a wrong one. */
	isDisabled: boolean;
}

/** A try that was let through and counted. One of the four has to follow, or those that wait for its outcome wait on. */
export interface Try {
	/** Whether it goes first in the queue: it comes from a known device, and no other of its account goes first now. */
	readonly first: boolean;
	/** Throws STORE_UNAVAILABLE where the store cannot be written: then no login can begin, either. */
	right(): Promise<void>;
	wrong(): Promise<void>;
	/** No hash was spent on it. */
	unchecked(): Promise<void>;
	/** Nobody will know: it counts as wrong. */
	abandoned(): void;
}

/** Throws BUSY where a hash would be refused now, of a try that goes first or of another one. */
export type AssertRoom = (first: boolean) => void;
