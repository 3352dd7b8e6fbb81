/** A login flood, six times of what two cores can hash: how many good logins come through, and who else suffers. */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Figure, quantile, type Row } from "../measure.ts";
import { gatehouseEnvironment, password, type Server, startServer, temporaryFolder } from "../processes.ts";

const loginsPerSecond = 60;
const probesPerSecond = 50;
const seconds = 20;
const callersWaitMs = 5000;
const cost = 12;
const users = Array.from({ length: 20 }, (_, index) => `user${index}`);

interface Answer {
	/** 0 where the caller gave up, -1 where the connection broke. */
	status: number;
	milliseconds: number;
	body: string;
}

interface FloodResult {
	rawBefore: number;
	rawAfter: number;
	goodPerSecond: number;
	good: number;
	shed: number;
	gaveUp: number;
	lost: number;
	shedP99: number;
	idleP99: number;
	floodP99: number;
}

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

/** One request, from the call to the last byte of the answer. */
function call(url: string, { token, body }: { token?: string; body?: string }): Promise<Answer> {
	const { promise, resolve } = Promise.withResolvers<Answer>();
	const begin = performance.now();
	const settle = (status: number, text = "") =>
		resolve({ status, milliseconds: performance.now() - begin, body: text });
	const headers = {
		...(token ? { authorization: `Bearer ${token}` } : {}),
		...(body ? { "content-type": "application/x-www-form-urlencoded" } : {}),
	};
	const signal = AbortSignal.timeout(callersWaitMs);
	const one = request(url, { agent, method: body ? "POST" : "GET", headers, signal }, (response) => {
		let text = "";
		response.setEncoding("utf8");
		response.on("data", (chunk) => {
			text += chunk;
		});
		response.on("end", () => settle(response.statusCode ?? -1, text));
		response.on("error", () => settle(signal.aborted ? 0 : -1));
	});
	one.on("error", () => settle(signal.aborted ? 0 : -1));
	one.end(body);
	return promise;
}

/** Calls at fixed times, whatever becomes of the calls before (open loop). */
async function openLoop<Result>(
	perSecond: number,
	forSeconds: number,
	make: (index: number) => Promise<Result>,
): Promise<Result[]> {
	const begin = performance.now();
	const calls: Promise<Result>[] = [];
	for (let index = 0; index < perSecond * forSeconds; index++) {
		const waitMs = begin + (index * 1000) / perSecond - performance.now();
		if (waitMs > 0) await sleep(waitMs);
		calls.push(make(index));
	}
	return Promise.all(calls);
}

const login = (server: Server, name: string) =>
	call(`${server.url}/login`, { body: new URLSearchParams({ username: name, password }).toString() });

async function floodOnce(server: Server, stored: string, tick: () => void): Promise<FloodResult> {
	const raw = () => server.ask<number>("rawHashesPerSecond", { stored, password, seconds: 5 });
	const probe = (token: string) => () => call(`${server.url}/protected`, { token });
	const p99 = (answers: Answer[]) => {
		const failed = answers.find(({ status }) => status !== 200);
		if (failed) throw new Error(`/protected answered ${failed.status} ${failed.body}`);
		return quantile(
			answers.map(({ milliseconds }) => milliseconds),
			0.99,
		);
	};

	const { access_token: token } = JSON.parse((await login(server, users[0] ?? "")).body) as { access_token: string };
	await openLoop(probesPerSecond, 5, probe(token));
	const idleP99 = p99(await openLoop(probesPerSecond, seconds, probe(token)));
	tick();
	const rawBefore = await raw();
	tick();

	const begin = performance.now();
	let lastGoodMs = seconds * 1000;
	const [answers, probes] = await Promise.all([
		openLoop(loginsPerSecond, seconds, async (index) => {
			const answer = await login(server, users[index % users.length] ?? "");
			if (answer.status === 200) lastGoodMs = Math.max(lastGoodMs, performance.now() - begin);
			return answer;
		}),
		openLoop(probesPerSecond, seconds, probe(token)),
	]);
	tick();
	// The work of callers who gave up may still go on.
	await sleep(callersWaitMs);
	for (let waiting = true; waiting; ) waiting = (await login(server, users[0] ?? "")).status !== 200;
	const rawAfter = await raw();
	tick();

	const count = (status: number) => answers.filter((answer) => answer.status === status).length;
	const shed = answers.filter((answer) => answer.status === 503).map(({ milliseconds }) => milliseconds);
	return {
		rawBefore,
		rawAfter,
		goodPerSecond: count(200) / (lastGoodMs / 1000),
		good: count(200),
		shed: shed.length,
		gaveUp: count(0),
		lost: answers.length - count(200) - count(503) - count(0),
		shedP99: quantile(shed, 0.99),
		idleP99,
		floodP99: p99(probes),
	};
}

/** On two cores: hashing, serving and the load share them. */
async function floodServer(file: string, environment: Record<string, string>) {
	const server = await startServer(file, { environment, cpus: "0,1" });
	let stored = "";
	for (const name of users) stored = await server.ask<string>("addUser", { name, password, cost });
	return { server, stored };
}

export const flood: Figure = {
	name: "flood",
	rounds: 3,
	async run(rounds, tick) {
		const { server, stored } = await floodServer("gatehouse.ts", gatehouseEnvironment(temporaryFolder()));
		const ours: FloodResult[] = [];
		for (let round = 0; round < rounds; round++) ours.push(await floodOnce(server, stored, tick));
		await server.stop();
		const other = await floodServer("plain.ts", {});
		const plain = await floodOnce(other.server, other.stored, tick);
		await other.server.stop();
		return rows(ours, plain);
	},
};

const share = ({ goodPerSecond, rawBefore, rawAfter }: FloodResult) => goodPerSecond / ((rawBefore + rawAfter) / 2);

function rows(ours: FloodResult[], plain: FloodResult): Row[] {
	const median = (pick: (result: FloodResult) => number) => quantile(ours.map(pick), 0.5);
	const shares = ours.map((result) => share(result).toFixed(2)).join(", ");
	const lost = ours.reduce((sum, result) => sum + result.lost, 0);
	const probe = (result: FloodResult) => `${result.floodP99.toFixed(1)} ms against ${result.idleP99.toFixed(1)} idle`;
	const counts = ({ good, shed, gaveUp }: FloodResult) => `${good} good, ${shed} shed, ${gaveUp} given up`;
	return [
		{
			figure: `login flood: ${loginsPerSecond} a second for ${seconds} s, good logins against raw hashing`,
			measured: median(share).toFixed(2),
			bar: "at least 0.95",
			met: median(share) >= 0.95,
			detail: `${shares}; ${median((result) => result.goodPerSecond).toFixed(1)} of ${median((result) => (result.rawBefore + result.rawAfter) / 2).toFixed(1)} a second; ${ours.map(counts).join(" / ")}`,
			data: ours,
		},
		{
			figure: "login flood: shed answers, p99",
			measured: `${median((result) => result.shedP99).toFixed(1)} ms`,
			bar: "within 50 ms",
			met: median((result) => result.shedP99) <= 50,
			detail: ours.map((result) => `${result.shedP99.toFixed(1)} ms`).join(", "),
			data: ours.map((result) => result.shedP99),
		},
		{
			figure: "login flood: logins without an answer whose caller was still there",
			measured: String(lost),
			bar: "none",
			met: lost === 0,
			detail: `of ${ours.length * loginsPerSecond * seconds}`,
			data: ours.map((result) => result.lost),
		},
		{
			figure: "login flood: /protected, p99, against twice idle plus 1 ms",
			measured: `${median((result) => result.floodP99).toFixed(1)} ms`,
			bar: `at most ${median((result) => 2 * result.idleP99 + 1).toFixed(1)} ms`,
			met: median((result) => result.floodP99 - 2 * result.idleP99 - 1) <= 0,
			detail: ours.map(probe).join(", "),
			data: ours.map(({ idleP99, floodP99 }) => ({ idleP99, floodP99 })),
		},
		{
			figure: "the same flood on a plain @fastify/jwt service, for comparison",
			measured: share(plain).toFixed(2),
			bar: "",
			met: undefined,
			detail: `${plain.goodPerSecond.toFixed(1)} a second; ${counts(plain)}; /protected ${probe(plain)}`,
			data: plain,
		},
	];
}
