/**
 * What runs inside the pool's threads: each export is a task that `pool.ts` starts by its name. The synchronous calls of
 * bcrypt are meant here: the asynchronous ones would use libuv's own pool, where 32 hashes hold up DNS and files for seconds.
 */
import { genSaltSync, hashSync, verifySync } from "@node-rs/bcrypt";
import { readCost } from "./encoding.ts";

/** `work` is what the task has spent, in units of one hash at the current cost. */
export interface Answer<Value> {
	value: Value;
	work: number;
}

/** Hashes with a random salt. */
export function hash(task: { input: string; cost: number }): Answer<string> {
	return { value: hashSync(task.input, task.cost), work: 1 };
}

/**
 * Compares. A refusal never takes less than one hash at the current cost: without a comparable stored hash a decoy is
 * compared instead, and a hash of lower cost c is topped up with decoys of c, c + 1 and so on: each step of cost doubles
 * the work, so 10 + 10 + 11 makes 12.
 */
export function verify(task: { input: string; stored: string | undefined; cost: number }): Answer<boolean> {
	const { input, stored, cost } = task;
	const storedCost = stored === undefined ? undefined : readCost(stored);
	if (stored === undefined || storedCost === undefined) {
		verifySync(input, decoy(cost));
		return { value: false, work: 1 };
	}
	const value = verifySync(input, stored);
	let work = 2 ** (storedCost - cost);
	for (let step = storedCost; !value && step < cost; step++) {
		verifySync(input, decoy(step));
		work += 2 ** (step - cost);
	}
	return { value, work };
}

/** See policy.ts, which is loaded with its dictionary by the first call only: it takes 35 MB that a login never needs. */
export async function findWeakness(task: {
	password: string;
	username: string;
	minLength: number;
}): Promise<Answer<string | undefined>> {
	const policy = await import("./policy.ts");
	return { value: policy.findWeakness(task), work: 0 };
}

/**
 * A bcrypt string that no password matches but whose comparison costs what a real one costs. `genSaltSync` pads its salt
 * with `==`, which would make the string malformed, and a malformed one is refused a thousand times faster.
 */
export function decoy(cost: number): string {
	return genSaltSync(cost, "2b").slice(0, 29) + ".".repeat(31);
}
