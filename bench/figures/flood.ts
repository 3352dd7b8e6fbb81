/** A login flood, six times of what two cores can hash: how many good logins come through, and who else suffers. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, Report, Stream } from "../caller.ts";
import { type Caller, startCaller } from "../caller-process.ts";
import { type Figure, quantile, type Row, shown, summarize } from "../measure.ts";
import { gatehouseEnvironment, password, type Server, startServer, temporaryFolder } from "../processes.ts";

export const loginsPerSecond = 60;
const probesPerSecond = 50;
export const seconds = 20;
const callersWaitMs = 5000;
const cost = 12;
const users = Array.from({ length: 20 }, (_, index) => `user${index}`);
const rawSeconds = 5;
const warmUpSeconds = 5;
/** A service that has just started takes thousands of requests until V8 has compiled what is hot. */
const warmUpLoginsPerSecond = 600;

export interface FloodResult {
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
	callerCpuSeconds: number;
}

/** The bytes of a login; `header` is one more line, with its end. */
export const loginRequest = (username: string, given = password, header = ""): string => {
	const body = new URLSearchParams({ username, password: given }).toString();
	const head = "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded";
	return `${head}\r\n${header}Content-Length: ${body.length}\r\n\r\n${body}`;
};

const loginsOfAll = (perSecond: number): Stream => ({ perSecond, requests: users.map((name) => loginRequest(name)) });

const get = (token: string) => `GET /protected HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`;

const portOf = ({ url }: Pick<Server, "url">) => ({ port: Number(new URL(url).port) });

/** One login with time to spare; answers its token, and nothing where it was refused. */
async function logIn({ url }: Server): Promise<string | undefined> {
	const answer = await fetch(`${url}/login`, {
		method: "POST",
		body: new URLSearchParams({ username: users[0] ?? "", password }),
	});
	const { access_token: token } = (await answer.json()) as { access_token?: string };
	return token;
}

/** Floods these servers, which share their accounts, each from a caller of its own that makes its part of the calls. */
export async function floodOnce(
	servers: readonly [Server, ...Server[]],
	stored: string,
	callers: readonly Caller[],
	tick: () => void,
): Promise<FloodResult> {
	const [server] = servers;
	const raw = () => server.ask<number>("rawHashesPerSecond", { stored, password, seconds: rawSeconds });
	const token = (await logIn(server)) ?? "";
	const probes: Stream = { perSecond: probesPerSecond, requests: [get(token)] };
	const logins = loginsOfAll(loginsPerSecond);
	const call = async (streams: Stream[], forSeconds: number): Promise<Report> => {
		const parts = streams.map((stream) => ({ ...stream, perSecond: stream.perSecond / servers.length }));
		const reports = await Promise.all(
			servers.map(({ url }, index) => {
				const caller = callers[index];
				if (!caller) throw new Error("Each server needs a caller");
				return caller.call({ ...portOf({ url }), seconds: forSeconds, callersWaitMs, streams: parts });
			}),
		);
		return {
			answers: reports.flatMap(({ answers }) => answers),
			cpuSeconds: reports.reduce((sum, report) => sum + report.cpuSeconds, 0),
		};
	};
	const p99 = (answers: Answer[]) => {
		const failed = answers.find(({ status }) => status !== 200);
		if (failed) throw new Error(`/protected answered ${failed.status}`);
		return quantile(
			answers.map(({ milliseconds }) => milliseconds),
			0.99,
		);
	};

	await call([probes], warmUpSeconds);
	const idleP99 = p99((await call([probes], seconds)).answers);
	tick();
	const rawBefore = await raw();
	tick();
	const { answers, cpuSeconds } = await call([probes, logins], seconds);
	tick();
	// The work of callers who gave up may still go on.
	await sleep(callersWaitMs);
	while ((await logIn(server)) === undefined);
	const rawAfter = await raw();
	tick();

	const ours = answers.filter(({ stream }) => stream === 1);
	const count = (status: number) => ours.filter((answer) => answer.status === status).length;
	const lastGoodMs = Math.max(...ours.filter(({ status }) => status === 200).map(({ atMs }) => atMs));
	const shed = ours.filter(({ status }) => status === 503).map(({ milliseconds }) => milliseconds);
	return {
		rawBefore,
		rawAfter,
		goodPerSecond: count(200) / (Math.max(lastGoodMs, seconds * 1000) / 1000),
		good: count(200),
		shed: shed.length,
		gaveUp: count(0),
		lost: ours.length - count(200) - count(503) - count(0),
		shedP99: quantile(shed, 0.99),
		idleP99,
		floodP99: p99(answers.filter(({ stream }) => stream === 0)),
		callerCpuSeconds: cpuSeconds,
	};
}

/** A flood that does not count. */
export async function warmUp(server: Server, caller: Caller): Promise<void> {
	const streams = [loginsOfAll(warmUpLoginsPerSecond)];
	await caller.call({ ...portOf(server), seconds: warmUpSeconds, callersWaitMs, streams });
}

/** On two cores: hashing, serving and the load share them. */
async function floodServer(file: string, environment: Record<string, string>) {
	const server = await startServer(file, { environment, cpus: "0,1" });
	return { server, stored: await addUsers(server) };
}

/** Makes the accounts of the flood, and answers the hash that one of them has. */
export async function addUsers(server: Server): Promise<string> {
	let stored = "";
	for (const name of users) stored = await server.ask<string>("addUser", { name, password, cost });
	return stored;
}

export const flood: Figure = {
	name: "flood",
	rounds: 15,
	async run(rounds, tick) {
		const { server, stored } = await floodServer("gatehouse.ts", gatehouseEnvironment(temporaryFolder()));
		const caller = startCaller();
		// Not for the plain service, which would hash what is left of it for minutes.
		await warmUp(server, caller);
		const ours: FloodResult[] = [];
		for (let round = 0; round < rounds; round++) ours.push(await floodOnce([server], stored, [caller], tick));
		await server.stop();
		const other = await floodServer("plain.ts", {});
		const plain = await floodOnce([other.server], other.stored, [caller], tick);
		await other.server.stop();
		await caller.stop();
		return rows(ours, plain);
	},
};

/** Good logins against raw hashing. */
export const share = ({ goodPerSecond, rawBefore, rawAfter }: FloodResult) =>
	goodPerSecond / ((rawBefore + rawAfter) / 2);

function rows(ours: FloodResult[], plain: FloodResult): Row[] {
	const median = (pick: (result: FloodResult) => number) => quantile(ours.map(pick), 0.5);
	const suffering = ({ floodP99, idleP99 }: FloodResult) => floodP99 / (2 * idleP99 + 1);
	const probe = (result: FloodResult) => `${result.floodP99.toFixed(1)} ms against ${result.idleP99.toFixed(1)} idle`;
	const counts = ({ good, shed, gaveUp }: FloodResult) => `${good} good, ${shed} shed, ${gaveUp} given up`;
	const sum = (pick: (result: FloodResult) => number) => ours.reduce((total, result) => total + pick(result), 0);
	const all = `${sum(({ good }) => good)} good, ${sum(({ shed }) => shed)} shed, ${sum(({ gaveUp }) => gaveUp)} given up in ${ours.length} rounds`;
	return [
		{
			figure: `login flood: ${loginsPerSecond} a second for ${seconds} s, good logins against raw hashing`,
			measured: shown(summarize(ours.map(share))),
			bar: "at least 0.95",
			met: median(share) >= 0.95,
			detail: `${median((result) => result.goodPerSecond).toFixed(1)} of ${median((result) => (result.rawBefore + result.rawAfter) / 2).toFixed(1)} a second; ${all}; the callers took ${((100 * median((result) => result.callerCpuSeconds)) / seconds).toFixed(0)} % of a core`,
			data: ours,
		},
		{
			figure: "login flood: shed answers, p99",
			measured: `${shown(summarize(ours.map(({ shedP99 }) => shedP99)), 1)} ms`,
			bar: "within 50 ms",
			met: median(({ shedP99 }) => shedP99) <= 50,
			detail: `at most ${Math.max(...ours.map(({ shedP99 }) => shedP99)).toFixed(1)} ms in any round`,
			data: ours.map((result) => result.shedP99),
		},
		{
			figure: "login flood: logins without an answer whose caller was still there",
			measured: String(sum(({ lost }) => lost)),
			bar: "none",
			met: ours.every(({ lost }) => lost === 0),
			detail: `of ${ours.length * loginsPerSecond * seconds}`,
			data: ours.map((result) => result.lost),
		},
		{
			figure: "login flood: /protected, p99, against twice idle plus 1 ms",
			measured: `${shown(summarize(ours.map(suffering)))} times`,
			bar: "at most 1.00 times",
			met: median(suffering) <= 1,
			detail: `${median(({ floodP99 }) => floodP99).toFixed(1)} ms against ${median(({ idleP99 }) => idleP99).toFixed(1)} idle, medians`,
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
