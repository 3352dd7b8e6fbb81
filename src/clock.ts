/**
 * Time, as everything above the store sees it. JWT times come from a `Clock`, so that tests can move it;
 * what replicas compare with each other comes from `store.now()` instead.
 */

/** Tells the time in whole epoch seconds, the unit of RFC 7519's NumericDate. */
export interface Clock {
	now(): number;
}

/** The clock of this machine. */
export const systemClock: Clock = { now: () => Math.floor(Date.now() / 1000) };

export const daySeconds = 86_400;
