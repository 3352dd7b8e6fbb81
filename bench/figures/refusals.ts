/** Whether the time of a refused login tells why it was refused (row L02). */
import { type Figure, quantile, type Row } from "../measure.ts";
import { gatehouseEnvironment, startServer, temporaryFolder } from "../processes.ts";

/** Lower than in production, to keep the run short: what is compared is the same work, a quarter of it. */
const cost = 10;
const blocks = 3;
const right = "copper thistle meridian 2718";
const wrong = "copper thistle meridian 2719";

/** Each of these is refused with the same words. */
const kinds: Record<string, { username: string; password: string }> = {
	unknown: { username: "nobody", password: right },
	"wrong password": { username: "somebody", password: wrong },
	disabled: { username: "disabled", password: right },
	"stored hash of lower cost": { username: "outdated", password: wrong },
	"wrong with a long password": { username: "somebody", password: wrong.repeat(4) },
};

export const refusals: Figure = {
	name: "refusals",
	// 400 samples of each kind in each block, as row L02 asks, take `--rounds 400`.
	rounds: 100,
	async run(rounds, tick) {
		const environment = { ...gatehouseEnvironment(temporaryFolder()), HASH_COST: String(cost), LOG_LEVEL: "fatal" };
		const server = await startServer("gatehouse.ts", { environment, cpus: "0,1" });
		await server.ask("addUser", { name: "somebody", password: right, cost });
		await server.ask("addUser", { name: "disabled", password: right, cost, disabled: true });
		await server.ask("addUser", { name: "outdated", password: right, cost: cost - 2 });

		const medians: Record<string, number>[] = [];
		for (let block = 0; block < blocks; block++) {
			const times = new Map(Object.keys(kinds).map((name) => [name, [] as number[]]));
			for (let round = 0; round < rounds; round++) {
				const names = Object.keys(kinds);
				// A different one is first each time, so that none always follows the same one.
				for (const name of [...names.slice(round % names.length), ...names.slice(0, round % names.length)]) {
					const begin = performance.now();
					const body = new URLSearchParams(kinds[name]);
					const answer = await fetch(`${server.url}/login`, { method: "POST", body });
					await answer.text();
					if (answer.status !== 401) throw new Error(`${name}: answered ${answer.status}`);
					times.get(name)?.push(performance.now() - begin);
				}
				if (round % 10 === 0) tick();
			}
			medians.push(Object.fromEntries([...times].map(([name, values]) => [name, quantile(values, 0.5)])));
		}
		await server.stop();
		return [row(medians, rounds)];
	},
};

function row(medians: Record<string, number>[], rounds: number): Row {
	const spreads = medians.map((block) => Math.max(...Object.values(block)) / Math.min(...Object.values(block)) - 1);
	const even = spreads.filter((spread) => spread <= 0.05).length;
	const first = Object.entries(medians[0] ?? {}).map(([name, value]) => `${name} ${value.toFixed(1)}`);
	return {
		figure: `refused logins of each kind (L02), interleaved: spread of the medians in ${blocks} blocks`,
		measured: spreads.map((spread) => `${(spread * 100).toFixed(1)} %`).join(", "),
		bar: "at most 5 % in two of three",
		met: even >= 2,
		detail: `cost ${cost}, ${rounds} of each kind a block; first block in ms: ${first.join(", ")}`,
		data: { spreads, medians },
	};
}
