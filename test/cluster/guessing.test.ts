/** Guessing at three replicas: what is let through, whoever asks, however many at once, and whatever dies meanwhile. */
import { readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { goodPassword } from "../support/app.ts";
import { progress, rounds } from "../support/rounds.ts";
import { startDatabase } from "./support/database.ts";
import { createClient } from "./support/load.ts";
import { startReplicas } from "./support/replicas.ts";

/** Three replicas, one account, and a way to log in at any of them from any address. */
async function cluster(t: Test) {
	const database = await startDatabase(t);
	const replicas = await startReplicas(t, database.url);
	const username = "root";
	const client = createClient();
	t.teardown(client.close);
	let turn = 0;
	const login = (address: string, name: string, password: string, device?: string) =>
		client.send(`${replicas[turn++ % replicas.length]?.url}/login`, {
			fields: { username: name, password },
			headers: { "x-forwarded-for": address, ...(device === undefined ? {} : { "x-device-token": device }) },
			patienceMs: 60_000,
		});
	return { replicas, username, login };
}

const count = (answers: { status: number }[], status: number) => answers.filter((one) => one.status === status).length;

t.test(
	"R02 and R03: 500 guesses at once over three replicas, the right one among them, get what one after the other gets",
	async (t) => {
		const { username, login } = await cluster(t);
		const begin = performance.now();
		const answers = await Promise.all(
			Array.from({ length: 500 }, (_, turn) =>
				login(`198.18.${turn % 250}.1`, username, turn === 199 ? goodPassword : `wrong password ${turn}`),
			),
		);
		// The delay is a second at first and doubles: so many more may have been let through since.
		const more = Math.ceil(Math.log2((performance.now() - begin) / 1000 + 1)) + 1;
		t.equal(count(answers, 200), 0, "nobody has guessed it");
		const compared = count(answers, 401);
		t.ok(compared >= 10 && compared <= 10 + more, `${compared} were compared`);
		t.equal(compared + count(answers, 429) + count(answers, 503), 500);
	},
);

t.test("R04: kill -9 between the tries forgets none", async (t) => {
	const { replicas, login } = await cluster(t);
	const statuses: number[] = [];
	const begin = performance.now();
	for (let turn = 0; turn < 125; turn++) {
		const replica = replicas[turn % 3];
		if (turn % 20 === 19) {
			await replica?.kill();
			await replica?.start();
		}
		statuses.push((await login("203.0.113.1", `name${turn}`, `wrong password ${turn}`)).status);
	}
	// Until the limit is reached one try is forgotten each nine seconds.
	const forgotten = Math.ceil((performance.now() - begin) / 9000);
	const compared = statuses.indexOf(429);
	t.ok(compared >= 100 && compared <= 100 + forgotten, `${compared} were compared`);
	t.same([...new Set(statuses.slice(0, compared))], [401]);
	t.same([...new Set(statuses.slice(compared))], [429]);
});

t.test("R07 and R10: a flood of guesses locks nobody out, and costs next to nothing once it is limited", async (t) => {
	const { replicas, username, login } = await cluster(t);
	const device = (await login("203.0.113.1", username, goodPassword)).json<{ device_token: string }>().device_token;
	const cpu = () => replicas.reduce((sum, { server }) => sum + cpuSeconds(server.pid), 0);

	let before = cpu();
	const evaluated = 90;
	for (let turn = 0; turn < evaluated; turn++)
		t.equal((await login("198.18.0.1", `name${turn}`, `wrong password ${turn}`)).status, 401);
	const each = (cpu() - before) / evaluated;

	const times = rounds(10_000);
	const slow: number[] = [];
	let refused = 0;
	before = cpu();
	for (let turn = 0; turn < times; turn += 20) {
		const answers = await Promise.all(
			Array.from({ length: 20 }, (_, at) => login("198.18.0.2", username, `wrong password ${turn + at}`)),
		);
		refused += count(answers, 429);
		if (turn % 500 !== 0) continue;
		const begin = performance.now();
		t.equal((await login("203.0.113.1", username, goodPassword, device)).status, 200, "the owner, on a known device");
		slow.push(performance.now() - begin);
	}
	const blocked = (cpu() - before) / times;
	progress(`a compared try ${(each * 1000).toFixed(1)} ms of CPU, a refused one ${(blocked * 1000).toFixed(2)} ms`);
	t.ok(refused > times - 30, `${times - refused} of ${times} were compared`);
	t.ok(blocked < each * 0.05, "R10, although a hash takes a quarter here of what it does at the cost of production");
	t.ok(Math.max(...slow) < 2000, `${Math.max(...slow)} ms at most`);
});

/** What a process has used so far. */
function cpuSeconds(pid: number): number {
	const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
	return (Number(fields[11]) + Number(fields[12])) / 100;
}
