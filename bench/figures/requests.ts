/** What authentication costs a request, and what the house costs one: CPU time of the server, pair by pair. */
import { join } from "node:path";
import { type Load, microsecondsPerRequest } from "../load.ts";
import { type Figure, interleave, type Row, ratioRow, summarize } from "../measure.ts";
import { gatehouseEnvironment, type Server, startServer, temporaryFolder } from "../processes.ts";

const seconds = 1;
/** More than any server can verify in that time. */
const freshTokens = 20_000 * seconds;

/** A Gatehouse on one core, and a file with tokens of its. */
async function open(tokens: number) {
	const folder = temporaryFolder();
	// Nothing may end while it is measured.
	const environment = { ...gatehouseEnvironment(folder), ACCESS_TOKEN_SECONDS: "86400" };
	const server = await startServer("gatehouse.ts", { environment });
	const file = join(folder, "tokens.txt");
	const renew = () => server.ask<void>("writeTokens", { file, count: tokens });
	await renew();
	return { server, file, renew };
}

/** Measures one route of one server. */
const side = (server: Server, path: string, tokens: string, once: Pick<Load, "once"> = {}) => {
	return () => microsecondsPerRequest(server, { path, tokens, seconds, ...once });
};

const microseconds = (values: readonly number[]) => `${summarize(values).median.toFixed(1)} µs`;

const oneToken: Figure = {
	name: "protected",
	rounds: 21,
	async run(rounds, tick) {
		const { server, file } = await open(1);
		const sides = { open: side(server, "/open", file), protected: side(server, "/protected", file) };
		const results = await interleave(rounds, sides, tick);
		await server.stop();
		return [
			againstOpen("GET /protected, ES256, one token, against the same route without authentication", results, 1.08),
		];
	},
};

const manyTokens: Figure = {
	name: "many-tokens",
	rounds: 21,
	async run(rounds, tick) {
		const count = 10_000;
		const { server, file } = await open(count);
		// Both routes are warm before the heap is weighed, then every token is seen for the first time.
		await interleave(1, { open: side(server, "/open", file) }, tick);
		const before = await server.ask<number>("heapBytes");
		await server.ask("presentTokens", { file });
		const bytes = ((await server.ask<number>("heapBytes")) - before) / count;
		const sides = { open: side(server, "/open", file), protected: side(server, "/protected", file) };
		const results = await interleave(rounds, sides, tick);
		await server.stop();
		const row = againstOpen("the same with 10,000 tokens in turn", results, 1.2);
		const detail = `${row.detail}; ${Math.round(bytes)} bytes an entry of the memory of verified tokens`;
		return [{ ...row, detail, data: { ...(row.data as object), bytesPerEntry: bytes } }];
	},
};

function againstOpen(title: string, results: { open: number; protected: number }[], bar: number): Row {
	const ratios = results.map((round) => round.protected / round.open);
	const costs = [results.map((round) => round.protected), results.map((round) => round.open)].map(microseconds);
	return ratioRow(title, ratios, bar, `${costs[0]} against ${costs[1]}`, results);
}

const firstSight: Figure = {
	name: "first-sight",
	rounds: 21,
	async run(rounds, tick) {
		const { server, file, renew } = await open(freshTokens);
		const sides = {
			open: side(server, "/open", file),
			verify: () => server.ask<number>("rawVerifyMicroseconds", { file, count: 3000 }),
			first: side(server, "/protected", file, { once: true }),
		};
		const results = await interleave(rounds, sides, tick, renew);
		await server.stop();
		const ratios = results.map(({ first, open: without, verify }) => first / (without + verify));
		const first = microseconds(results.map((round) => round.first));
		const verify = microseconds(results.map((round) => round.verify));
		const without = microseconds(results.map((round) => round.open));
		const title = "first sight of a token, against one raw crypto.verify plus the route without authentication";
		return [ratioRow(title, ratios, 1.6, `${first} against ${verify} + ${without}`, results)];
	},
};

const againstBare: Figure = {
	name: "bare",
	rounds: 21,
	async run(rounds, tick) {
		const { server, file } = await open(1);
		const bare = await startServer("bare.ts");
		const sides = {
			bare: side(bare, "/protected", file),
			open: side(server, "/open", file),
			protected: side(server, "/protected", file),
		};
		const results = await interleave(rounds, sides, tick);
		await server.stop();
		await bare.stop();
		const base = microseconds(results.map((round) => round.bare));
		return (["open", "protected"] as const).map((name) => {
			const title =
				name === "open"
					? "the route without authentication, against bare Fastify with no plugin at all"
					: "GET /protected, against bare Fastify with no plugin at all";
			const cost = microseconds(results.map((round) => round[name]));
			const ratios = results.map((round) => round[name] / round.bare);
			return ratioRow(title, ratios, 1.4, `${cost} against ${base}`, results);
		});
	},
};

export const requestFigures = [oneToken, manyTokens, firstSight, againstBare];
