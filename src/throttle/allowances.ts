/** How many tries an account, an address and a device have. */
import { daySeconds } from "../clock.ts";
import type { Limit } from "./tries.ts";

const addressSeconds = 900;

/** At most 50 are remembered, of which 50 a day are forgotten: so no 24 hours see more than 100. */
export const accountLimit = (free: number): Limit => ({
	free,
	firstDelay: 1,
	most: 50,
	forgetSeconds: daySeconds / 50,
});
/** So many, then none for 15 minutes; spread out, nearly twice as many in that time. */
export const addressLimit = (free: number): Limit => ({
	free,
	firstDelay: addressSeconds,
	most: free,
	forgetSeconds: Math.ceil(addressSeconds / free),
});
/** Ten, of which one comes back each 2.4 hours: what a stolen token is worth, and no more. */
export const deviceLimit: Limit = { free: 10, firstDelay: addressSeconds, most: 10, forgetSeconds: daySeconds / 10 };
