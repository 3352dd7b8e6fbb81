/** A follower of changes over a store, timers and a monotonic clock that are all the test's. */
import { mock } from "node:test";
import { pino } from "pino";
import { createChanges } from "../../src/changes.ts";
import type { ChangeTopic } from "../../src/store/schema.ts";

/** A store that answers, fails or keeps silent as told, and a follower over it. */
export function follow(t: { teardown: (end: () => unknown) => void }, maxStalenessSeconds = 300) {
	mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
	let now = 1_000_000;
	const versions: Record<ChangeTopic, number> = { accounts: 0, keys: 0, revocations: 0 };
	const loaded: ChangeTopic[] = [];
	const loadedAnew: ChangeTopic[] = [];
	const lines: string[] = [];
	const store = {
		questions: 0,
		/** What the next questions end with. */
		answer: async () => ({ ...versions }),
		/** When the last change was announced, by the store's clock, which is this test's. */
		announcedMs: null as number | null,
		/** Which server answers. */
		server: "the first",
		async news() {
			store.questions++;
			const answer = await store.answer();
			const { announcedMs, server } = store;
			const of = (topic: ChangeTopic) => ({ version: answer[topic], announcedMs, nowMs: now, server });
			return { accounts: of("accounts"), keys: of("keys"), revocations: of("revocations") };
		},
	};
	const load = (topic: ChangeTopic) => async (_version: number, anew: boolean) => {
		loaded.push(topic);
		if (anew) loadedAnew.push(topic);
	};
	const reload = { accounts: load("accounts"), keys: load("keys"), revocations: load("revocations") };
	const log = pino({ level: "trace" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
	const changes = createChanges({ store, reload, maxStalenessSeconds, log, nowMs: () => now });
	const gates: ((answer: Record<ChangeTopic, number>) => void)[] = [];
	t.teardown(async () => {
		for (const open of gates) open({ ...versions });
		await changes.close();
		mock.timers.reset();
	});
	/** Time goes by as it does for a process that runs. */
	const pass = async (milliseconds: number) => {
		for (let left = milliseconds; left > 0; left -= 250) {
			now += Math.min(250, left);
			mock.timers.tick(Math.min(250, left));
			await settle();
		}
	};
	/** Time goes by as it does for a process that is stopped: no timer fires. */
	const freeze = (milliseconds: number) => {
		now += milliseconds;
	};
	const fail = () => {
		store.answer = () => Promise.reject(new Error("no store"));
	};
	const heal = () => {
		store.answer = async () => ({ ...versions });
	};
	/** The next questions stay without an answer until the function that this returns gives them one. */
	const silence = () => {
		const { promise, resolve } = Promise.withResolvers<Record<ChangeTopic, number>>();
		store.answer = () => promise;
		gates.push(resolve);
		return resolve;
	};
	return { changes, store, versions, loaded, loadedAnew, lines, reload, pass, freeze, fail, heal, silence };
}

/** Lets every promise that can go on do so. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
