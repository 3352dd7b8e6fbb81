/** HAProxy with the configuration that is published in deploy/haproxy, only the addresses filled in. */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../support/free-port.ts";
import { type Owner, start } from "../../support/process.ts";
import { databaseFolder } from "./database.ts";

const published = resolve(import.meta.dirname, "../../../deploy/haproxy/haproxy.cfg");

export type Balancer = Awaited<ReturnType<typeof startBalancer>>;

/** Starts HAProxy in front of these ports of the loopback interface, and waits until it has a server to send to. */
export async function startBalancer(owner: Owner, ports: readonly number[]) {
	const port = await freePort();
	const lines = readFileSync(published, "utf8")
		.replace("bind :8080", `bind 127.0.0.1:${port}`)
		// The file has three; a test may have fewer.
		.replaceAll(/^\s*server gatehouse-(\d) (gatehouse-\d:3000)$/gm, (line, number: string, address: string) => {
			const of = ports[Number(number) - 1];
			return of === undefined ? "" : line.replace(address, `127.0.0.1:${of}`);
		});
	if (lines.includes(":8080") || lines.includes(":3000")) throw new Error(`Addresses are left in ${published}`);
	const file = join(databaseFolder(owner), "haproxy.cfg");
	writeFileSync(file, lines);
	const haproxy = start(owner, "haproxy", ["-db", "-f", file], {});
	const url = `http://127.0.0.1:${port}`;
	for (let turn = 0; ; turn++) {
		const answer = await fetch(`${url}/livez`).catch(() => undefined);
		await answer?.body?.cancel();
		if (answer?.ok) break;
		if (turn > 100) throw new Error(`HAProxy has no server:\n${haproxy.stdout()}`);
		await sleep(50);
	}
	return { url, port, log: haproxy.stdout };
}
