/** What authentication costs a request, and what the house costs one: CPU time of the server, side by side. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Load, takeTurns } from "../load.ts";
import { type Figure, overStarts, type Row, ratioRow, repeat, shown, summarize } from "../measure.ts";
import { gatehouseEnvironment, startServer, temporaryFolder } from "../processes.ts";

/** More than any server can verify in a round. */
const freshTokens = 8000;

/** A Gatehouse on one core, and a file with tokens of its. */
async function house(count: number) {
	const folder = temporaryFolder();
	// Nothing may end while it is measured.
	const environment = { ...gatehouseEnvironment(folder), ACCESS_TOKEN_SECONDS: "86400" };
	const server = await startServer("gatehouse.ts", { environment });
	const file = join(folder, "tokens.txt");
	const renew = () => server.ask<void>("writeTokens", { file, count });
	await renew();
	return { server, file, renew };
}

const microseconds = (values: readonly number[]) => `${summarize(values).median.toFixed(1)} µs`;

/** Two paths of one Gatehouse, in several starts, with one token in every request. */
const withOneToken = <Side extends string>(rounds: number, paths: Record<Side, string>, tick: () => void) =>
	overStarts(rounds, async (share) => {
		const { server, file } = await house(1);
		const tokens = { one: readFileSync(file, "utf8") };
		const names = Object.keys(paths) as Side[];
		const sides = Object.fromEntries(names.map((name) => [name, { server, path: paths[name], tokens }])) as Record<
			Side,
			Load
		>;
		const measured = await repeat(share, () => takeTurns(sides), tick);
		await server.stop();
		return measured;
	});

/** The error of `takeTurns` itself: both sides are the same. */
const itself: Figure = {
	name: "itself",
	rounds: 35,
	async run(rounds, tick) {
		const results = await withOneToken(rounds, { first: "/protectee", second: "/protectee" }, tick);
		const ratios = results.map(({ first, second }) => second / first);
		const cost = (["second", "first"] as const).map((side) => microseconds(results.map((round) => round[side])));
		return [
			{
				figure: "the route without authentication, against itself",
				measured: `${shown(summarize(ratios))} times`,
				bar: "",
				met: undefined,
				detail: cost.join(" against "),
				data: results,
			},
		];
	},
};

const oneToken: Figure = {
	name: "protected",
	rounds: 35,
	async run(rounds, tick) {
		const results = await withOneToken(rounds, { open: "/protectee", protected: "/protected" }, tick);
		return [
			againstOpen("GET /protected, ES256, one token, against the same route without authentication", results, 1.08),
		];
	},
};

const manyTokens: Figure = {
	name: "many-tokens",
	rounds: 35,
	async run(rounds, tick) {
		const count = 10_000;
		const bytes = await weigh(count, tick);
		const results = await overStarts(rounds, async (share) => {
			const { server, file } = await house(count);
			// Every one is known before a round counts: a round may be too short to send them all.
			await server.ask("presentTokens", { file });
			const tokens = { file };
			const sides = { open: { server, path: "/protectee", tokens }, protected: { server, path: "/protected", tokens } };
			const measured = await repeat(share, () => takeTurns(sides), tick);
			await server.stop();
			return measured;
		});
		const row = againstOpen("the same with 10,000 tokens in turn", results, 1.2);
		const detail = `${row.detail}; ${Math.round(bytes)} bytes an entry of the memory of verified tokens`;
		return [{ ...row, detail, data: { ...(row.data as object), bytesPerEntry: bytes } }];
	},
};

/** Bytes of an entry of the memory of verified tokens; in a process of its own, as it forces collections. */
async function weigh(count: number, tick: () => void): Promise<number> {
	const { server, file } = await house(count);
	// The routes are warm before the heap is weighed, then every token is seen for the first time.
	await repeat(1, () => takeTurns({ open: { server, path: "/protectee", tokens: { file } } }), tick);
	const before = await server.ask<number>("heapBytes");
	await server.ask("presentTokens", { file });
	const bytes = ((await server.ask<number>("heapBytes")) - before) / count;
	await server.stop();
	return bytes;
}

function againstOpen(title: string, results: { open: number; protected: number }[], bar: number): Row {
	const ratios = results.map((round) => round.protected / round.open);
	const costs = [results.map((round) => round.protected), results.map((round) => round.open)].map(microseconds);
	return ratioRow(title, ratios, bar, `${costs[0]} against ${costs[1]}`, results);
}

const firstSight: Figure = {
	name: "first-sight",
	rounds: 35,
	async run(rounds, tick) {
		const { server, file, renew } = await house(freshTokens);
		const tokens = { file };
		const sides = {
			verify: { server, path: "/open-verify", tokens, fresh: true },
			first: { server, path: "/protected", tokens, fresh: true },
		};
		const results = await repeat(rounds, () => renew().then(() => takeTurns(sides)), tick);
		await server.stop();
		const ratios = results.map(({ first, verify }) => first / verify);
		const first = microseconds(results.map((round) => round.first));
		const verify = microseconds(results.map((round) => round.verify));
		const title = "first sight of a token, against one raw crypto.verify plus the route without authentication";
		return [ratioRow(title, ratios, 1.6, `${first} against ${verify}`, results)];
	},
};

const againstBare: Figure = {
	name: "bare",
	rounds: 35,
	async run(rounds, tick) {
		const results = await overStarts(rounds, async (share) => {
			const { server, file } = await house(1);
			const bare = await startServer("bare.ts");
			const tokens = { one: readFileSync(file, "utf8") };
			const sides = {
				bare: { server: bare, path: "/protected", tokens },
				open: { server, path: "/protectee", tokens },
				protected: { server, path: "/protected", tokens },
			};
			const measured = await repeat(share, () => takeTurns(sides), tick);
			await server.stop();
			await bare.stop();
			return measured;
		});
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

export const requestFigures = [itself, oneToken, manyTokens, firstSight, againstBare];
