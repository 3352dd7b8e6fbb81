/** Several replicas on one PostgreSQL: restarts and an outage behind HAProxy, and a flood that two of them share. */
import { setTimeout as sleep } from "node:timers/promises";
import { startBalancer } from "../../test/cluster/support/balancer.ts";
import { type Database, startDatabase } from "../../test/cluster/support/database.ts";
import { createClient, failures, startLoad, summary } from "../../test/cluster/support/load.ts";
import { needs } from "../../test/cluster/support/packages.ts";
import { addUsers, startReplicas } from "../../test/cluster/support/replicas.ts";
import { startPostgres } from "../../test/support/postgres.ts";
import { type Owner, testSecret } from "../../test/support/process.ts";
import type { Answer } from "../caller.ts";
import { type Caller, startCaller } from "../caller-process.ts";
import { type Figure, quantile, type Row, shown, summarize } from "../measure.ts";
import { gatehouseEnvironment, startServer, temporaryFolder } from "../processes.ts";
import * as flood from "./flood.ts";

const perSecond = 200;
const outageSeconds = 60;

/** Runs a measurement over a fresh PostgreSQL with the durability of production; what it starts ends with it. */
async function onDatabase<Result>(measure: (owner: Owner, database: Database) => Promise<Result>): Promise<Result> {
	const ends: (() => unknown)[] = [];
	const owner = { teardown: (end: () => unknown) => void ends.unshift(end) } as Owner;
	// For its programs, and the user that it makes where this is root.
	const postgres = await startPostgres();
	try {
		return await measure(owner, await startDatabase(owner, { programs: postgres.programs }));
	} finally {
		for (const end of ends) await end();
		await postgres.stop();
	}
}

/** The row of a figure that this machine cannot measure. */
const cannot = (figure: string, bar: string): Row => ({
	figure,
	measured: "not measured",
	bar,
	met: undefined,
	detail: needs("haproxy").skip ?? "",
	data: undefined,
});

const restart: Figure = {
	name: "restart",
	rounds: 10,
	async run(rounds, tick) {
		const figure = `rolling restart of three replicas behind HAProxy under ${perSecond} requests a second`;
		const bar = "0 failed requests";
		if (needs("haproxy").skip) return [cannot(figure, bar)];
		return onDatabase(async (owner, database) => {
			const replicas = await startReplicas(owner, database.url);
			const ports = replicas.map(({ port }) => port);
			const { url } = await startBalancer(owner, ports);
			const load = await startLoad(owner, url, await addUsers(database, 10), { perSecond });
			for (let round = 0; round < rounds; round++) {
				for (const replica of replicas) {
					await replica.end();
					await replica.start();
				}
				tick();
			}
			const samples = await load.stop();
			const failed = failures(samples);
			return [
				{
					figure,
					measured: `${failed.length} failed`,
					bar,
					met: failed.length === 0,
					detail: `${rounds} times, ${samples.length} requests; ${summary(samples)}`,
					data: { requests: samples.length, failed },
				},
			];
		});
	},
};

const outage: Figure = {
	name: "outage",
	rounds: 1,
	async run(rounds, tick) {
		const figure = `/protected through HAProxy while PostgreSQL is stopped for ${outageSeconds} s, p99`;
		const bar = "no failure; at most 1.25 times that before, plus 0.5 ms";
		if (needs("haproxy").skip) return [cannot(figure, bar)];
		return onDatabase(async (owner, database) => {
			const replicas = await startReplicas(owner, database.url);
			const ports = replicas.map(({ port }) => port);
			const { url, port } = await startBalancer(owner, ports);
			const client = createClient();
			const { access_token: token } = await client.login(url, "root");
			client.close();
			const caller = startCaller();
			owner.teardown(caller.stop);
			const request = `GET /protected HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`;
			const ask = async (seconds = outageSeconds) =>
				(
					await caller.call({
						port,
						seconds,
						callersWaitMs: 5000,
						streams: [{ perSecond, requests: [request] }],
					})
				).answers;
			const p99 = (answers: Answer[]) =>
				quantile(
					answers.map(({ milliseconds }) => milliseconds),
					0.99,
				);
			const results: { before: number; during: number; failed: number; requests: number }[] = [];
			// What has just started is slow.
			await ask(10);
			for (let round = 0; round < rounds; round++) {
				const before = await ask();
				tick();
				await database.stop();
				const during = await ask();
				await database.start();
				tick();
				const failed = during.filter(({ status }) => status !== 200).length;
				results.push({ before: p99(before), during: p99(during), failed, requests: during.length });
			}
			const failed = results.reduce((sum, result) => sum + result.failed, 0);
			const median = (pick: (result: (typeof results)[number]) => number) => quantile(results.map(pick), 0.5);
			const [before, during] = [median((result) => result.before), median((result) => result.during)];
			return [
				{
					figure,
					measured: `${failed} failed, ${during.toFixed(1)} ms`,
					bar,
					met: failed === 0 && during <= before * 1.25 + 0.5,
					detail: `${before.toFixed(1)} ms before; ${results.map(({ requests }) => requests).join(" + ")} requests, ${perSecond} a second`,
					data: results,
				},
			];
		});
	},
};

const twoReplicas: Figure = {
	name: "two-replicas",
	rounds: 5,
	run: (rounds, tick) =>
		onDatabase(async (owner, database) => {
			const environment = {
				...gatehouseEnvironment(temporaryFolder()),
				DATABASE_URL: database.url,
				SECRET: testSecret,
				LOGIN_LIMITS: "off",
			};
			const start = async () => {
				const server = await startServer("gatehouse.ts", { environment, cpus: "0,1" });
				owner.teardown(server.stop);
				return server;
			};
			const servers = [await start(), await start()] as const;
			const callers = [startCaller(), startCaller()];
			for (const { stop } of callers) owner.teardown(stop);
			const stored = await flood.addUsers(servers[0]);
			for (const [index, server] of servers.entries()) await flood.warmUp(server, callers[index] as Caller);
			const results: flood.FloodResult[] = [];
			for (let round = 0; round < rounds; round++) {
				results.push(await flood.floodOnce(servers, stored, callers, tick));
				await sleep(1000);
			}
			const shares = results.map(flood.share);
			const median = quantile(shares, 0.5);
			const each = results.map(
				({ good, shed, gaveUp, lost }) => `${good} good, ${shed} shed, ${gaveUp} given up, ${lost} lost`,
			);
			return [
				{
					figure: `login flood on two replicas: ${flood.loginsPerSecond} a second for ${flood.seconds} s, good logins against raw hashing`,
					measured: shown(summarize(shares)),
					bar: "at least 0.88",
					met: median >= 0.88,
					detail: `${shares.map((value) => value.toFixed(2)).join(", ")}; ${each.join(" / ")}`,
					data: results,
				},
			];
		}),
};

export const clusterFigures = [restart, outage, twoReplicas];
