/** The memory of verified tokens: it must change nothing but the speed. Expiry in it: test/src/tokens-times.test.ts (T09). */
import { once } from "node:events";
import { Agent, get as httpGet, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { type TestApp, testApp } from "../support/app.ts";
import { expectAccepted, expectRefused, segments } from "../support/forgery.ts";
import { rounds } from "../support/rounds.ts";

const many = rounds(10_000);

/** Counts how often a key is looked up: once for each token whose signature is verified, never for a remembered one. */
function countVerifications({ services }: TestApp): () => number {
	let count = 0;
	const { find } = services.keys;
	services.keys.find = (kid) => {
		count++;
		return find(kid);
	};
	return () => count;
}

t.test(`T26: every one of ${many} interleaved requests of 20 users is answered for its sender`, async (t) => {
	const { app, mint, claims } = await testApp(t, { logLevel: "fatal" });
	await app.listen({ host: "127.0.0.1", port: 0 });
	const { port } = app.server.address() as AddressInfo;
	const agent = new Agent({ keepAlive: true, maxSockets: 64 });
	t.teardown(() => agent.destroy());
	const common = claims("");
	// Nearly equal: one letter of the subject is all that differs, and the same header, times and ids.
	const names = Array.from({ length: 20 }, (_, index) => `account-${"abcdefghijklmnopqrst"[index]}`);
	const tokens = names.map((sub) => mint({ ...common, sub }));
	const forged = tokens.map((token, index) => {
		const [header, payload] = segments(token);
		return `${header}.${payload}.${segments(tokens[(index + 1) % 20] as string)[2]}`;
	});

	const ask = async (token: string) => {
		const headers = { authorization: `Bearer ${token}` };
		const [answer] = (await once(
			httpGet({ host: "127.0.0.1", port, path: "/protected", agent, headers }),
			"response",
		)) as [IncomingMessage];
		let text = "";
		for await (const chunk of answer) text += chunk;
		return { status: answer.statusCode, message: (JSON.parse(text) as { message: string }).message };
	};
	const wrong: string[] = [];
	let next = 0;
	const worker = async () => {
		while (next < many) {
			const turn = next++;
			// Steps of 7 and of 13 put other neighbours beside each user in every round; every eleventh token is forged.
			const user = (turn * 7 + Math.floor(turn / 20) * 13) % 20;
			const isForged = turn % 11 === 10;
			const { status, message } = await ask((isForged ? forged : tokens)[user] as string);
			const right = isForged
				? status === 401
				: status === 200 && message === `Protected route for user: ${names[user]}`;
			if (!right) wrong.push(`${turn}: ${names[user]}${isForged ? ", forged" : ""} got ${status} ${message}`);
		}
	};
	await Promise.all(Array.from({ length: 64 }, worker));
	t.same(wrong, []);
	t.equal(next, many);
});

t.test("one token gives one answer, however often it is sent", async (t) => {
	const house = await testApp(t);
	const verifications = countVerifications(house);
	const id = await house.addUser("ada");
	const good = house.mint(house.claims(id));
	const bad = `${good.slice(0, -4)}AAAA`;
	const answers = new Set<string>();
	const refusals = new Set<string>();
	for (let turn = 0; turn < 100; turn++) {
		const answer = await house.get("/me", good);
		answers.add(`${answer.statusCode} ${answer.payload}`);
		const refusal = await house.get("/me", bad);
		refusals.add(`${refusal.statusCode} ${refusal.payload}`);
	}
	t.equal(answers.size, 1);
	t.match([...answers][0], /^200 .*"username":"ada"/);
	t.equal(refusals.size, 1);
	t.match([...refusals][0], /^401 .*"INVALID_TOKEN"/);
	t.equal(verifications(), 101, "the good one was verified once, the bad one each time");
});

t.test(
	"a token is remembered by its whole text: another one with the same part is verified, and refused",
	async (t) => {
		const house = await testApp(t);
		const id = await house.addUser("ada");
		const good = house.mint(house.claims(id));
		const other = house.mint({ ...house.claims(id), sub: "somebody else" });
		const [header, payload, signature] = segments(good);
		await expectAccepted(t, house, good, id, "remembered");
		await expectRefused(t, house, `${header}.${segments(other)[1]}.${signature}`, "other claims under its signature");
		await expectRefused(t, house, `${header}.${payload}.${segments(other)[2]}`, "its claims under another signature");
		await expectRefused(t, house, `${header}.${payload}.`, "without signature");
		await expectAccepted(t, house, good, id, "still remembered");
	},
);

t.test("a token that was refused is not remembered, whatever it was refused for", async (t) => {
	const house = await testApp(t);
	const verifications = countVerifications(house);
	const good = house.claims(await house.addUser("ada"));
	const now = house.clock.now();
	for (const claims of [
		{ ...good, exp: now - 30 },
		{ ...good, nbf: now + 31 },
		{ ...good, iss: "x" },
		{ ...good, sub: "" },
	]) {
		const before = verifications();
		await expectRefused(t, house, house.mint(claims), "refused at both doors");
		t.equal(verifications() - before, 2, "and verified at both");
	}
});

t.test("long tokens take more of the memory: it is bounded by bytes as well", async (t) => {
	const house = await testApp(t);
	const verifications = countVerifications(house);
	const id = await house.addUser("ada");
	// About 8,000 letters each, of which 40 MB hold 2,500.
	const padding = "x".repeat(5_400);
	const tokens = Array.from({ length: 2_600 }, (_, index) =>
		house.mint({ ...house.claims(id), jti: `long ${index}`, padding }),
	);
	t.ok((tokens[0]?.length ?? 0) > 7_700, `${tokens[0]?.length} letters`);
	for (const token of tokens) await house.app.verifyAccessToken(token);
	await house.app.verifyAccessToken(tokens.at(-1) as string);
	t.equal(verifications(), 2_600, "the last one is remembered");
	await house.app.verifyAccessToken(tokens[0] as string);
	t.equal(verifications(), 2_601, "the first one is not");
});

t.test("tokens used lately are remembered while more come than the memory holds", async (t) => {
	const house = await testApp(t);
	const verifications = countVerifications(house);
	const id = await house.addUser("ada");
	const used = [house.mint(house.claims(id)), house.mint(house.claims(id))];
	/** How many tokens are verified while something is done. */
	const during = async (work: () => Promise<void>) => {
		const before = verifications();
		await work();
		return verifications() - before;
	};
	const use = async () => {
		for (const token of used) await expectAccepted(t, house, token, id, "accepted");
	};
	t.equal(await during(use), 2, "at first");
	const fillers = Array.from({ length: 25_001 }, (_, index) =>
		house.mint({ ...house.claims(id), jti: `filler ${index}` }),
	);
	const present = async (from: number, to: number) => {
		for (const token of fillers.slice(from, to)) await house.app.verifyAccessToken(token);
	};
	t.equal(await during(() => present(0, 15_000)), 15_000);
	t.equal(await during(use), 0, "both are still remembered");
	// The exact number that it holds: test/src/verified-tokens.test.ts.
	t.equal(await during(() => present(15_000, 25_001)), 10_001);
	t.equal(await during(use), 0, "after all of them too");
	t.equal(await during(() => present(0, 1)), 1, "the first that was not used again is not");
});
