/** What many requests ask of the store at the same time goes together: of one statement alone most is the way there and back. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** Most keys that go together. */
const most = 100;

/**
 * Collects the keys that are asked for in one turn of the event loop.
 *
 * @param ask answers each key, in their order. Where it fails, it fails for all who asked together.
 */
export function createBatches<Key, Answer>(
	ask: (keys: readonly Key[]) => Promise<readonly Answer[]>,
): (key: Key) => Promise<Answer> {
	let open: { keys: Key[]; answers: Promise<readonly Answer[]> } | undefined;

	function begin() {
		const keys: Key[] = [];
		const answers = nextTurn().then(() => {
			if (open?.keys === keys) open = undefined;
			return ask(keys);
		});
		open = { keys, answers };
		return open;
	}

	return async (key) => {
		const { keys, answers } = open && open.keys.length < most ? open : begin();
		const index = keys.push(key) - 1;
		return (await answers)[index] as Answer;
	};
}
