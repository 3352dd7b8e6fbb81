/** Somebody guesses at one account from one address, hundreds of times a second, while its owner logs in. */
import type { Answer } from "../caller.ts";
import { startCaller } from "../caller-process.ts";
import { type Figure, quantile } from "../measure.ts";
import { gatehouseEnvironment, password, startServer, temporaryFolder } from "../processes.ts";
import { loginRequest } from "./flood.ts";

const guessesPerSecond = 300;
const ownerPerSecond = 2;
const limitedAfterSeconds = 10;
const seconds = 60;
const cost = 12;
const owner = "owner";

interface Hashing {
	/** Comparisons so far, in hashes at the current cost. */
	spent: number;
	meanSeconds: number;
}

export const guesses: Figure = {
	name: "guesses",
	rounds: 1,
	async run(rounds, tick) {
		const environment = { ...gatehouseEnvironment(temporaryFolder()), LOGIN_LIMITS: "on" };
		const server = await startServer("gatehouse.ts", { environment, cpus: "0,1" });
		const caller = startCaller();
		await server.ask("addUser", { name: owner, password, cost });
		const first = await fetch(`${server.url}/login`, {
			method: "POST",
			body: new URLSearchParams({ username: owner, password }),
		});
		const { device_token: device } = (await first.json()) as { device_token: string };
		const wrong = Array.from({ length: 100 }, (_, index) => loginRequest(owner, `a wrong password ${index}`));
		const right = [loginRequest(owner, password, `X-Device-Token: ${device}\r\n`)];
		const call = async (forSeconds: number, logins: number) => {
			const { answers } = await caller.call({
				port: Number(new URL(server.url).port),
				seconds: forSeconds,
				callersWaitMs: 5000,
				streams: [
					{ perSecond: guessesPerSecond, requests: wrong },
					{ perSecond: logins, requests: right },
				],
			});
			return ([0, 1] as const).map((index) => answers.filter(({ stream }) => stream === index)) as [Answer[], Answer[]];
		};

		await call(limitedAfterSeconds, 0);
		const results: { guesses: Answer[]; logins: Answer[]; share: number }[] = [];
		for (let round = 0; round < rounds; round++) {
			const before = await server.ask<Hashing>("hashing");
			const [guesses, logins] = await call(seconds, ownerPerSecond);
			const { spent, meanSeconds } = await server.ask<Hashing>("hashing");
			const forGuesses = spent - before.spent - logins.filter(({ status }) => status === 200).length;
			results.push({ guesses, logins, share: (forGuesses * meanSeconds) / seconds });
			tick();
		}
		await caller.stop();
		await server.stop();

		const logins = results.flatMap((result) => result.logins);
		const refused = logins.filter(({ status }) => status !== 200).length;
		const p99 = quantile(
			logins.map(({ milliseconds }) => milliseconds),
			0.99,
		);
		const share = quantile(
			results.map((result) => result.share),
			0.5,
		);
		const counts = new Map<number, number>();
		for (const { status } of results.flatMap((result) => result.guesses))
			counts.set(status, (counts.get(status) ?? 0) + 1);
		const what = `${guessesPerSecond} wrong passwords a second from one address`;
		return [
			{
				figure: `${what}: a known device of the same account logs in, p99`,
				measured: `${p99.toFixed(0)} ms`,
				bar: "all of them, within 1 s",
				met: refused === 0 && p99 <= 1000,
				detail: `${logins.length} logins in ${rounds * seconds} s, ${refused} refused; from the same address as the guesses`,
				data: logins,
			},
			{
				figure: `${what}: hashing for the attacker once limited`,
				measured: `${(100 * share).toFixed(1)} % of a core`,
				bar: "under 5 %",
				met: share < 0.05,
				detail: `the guesses were answered ${[...counts].map(([status, count]) => `${status}: ${count}`).join(", ")}`,
				data: results.map((result) => result.share),
			},
		];
	},
};
