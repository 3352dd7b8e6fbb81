/** Gatehouse as it is, with one more route: `/open` has all of `/protected` but the authentication. */
import { createPublicKey, verify } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { hash } from "@node-rs/bcrypt";
import { Type } from "@sinclair/typebox";
import { buildApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config/config.ts";
import { createLog } from "../../src/log.ts";
import { openServices } from "../../src/services.ts";
import { username } from "../processes.ts";
import { answerQuestions } from "./questions.ts";

const { config } = loadConfig(process.env);
const services = await openServices(config, { log: createLog(config.logLevel, false) });
const app = await buildApp(services);
const user = await services.users.getByName(username);

app.get("/open", {
	config: { access: "public" },
	schema: { response: { 200: Type.Object({ message: Type.String() }, { additionalProperties: false }) } },
	handler: async () => ({ message: `Protected route for user: ${user.id}` }),
});
await app.listen({ host: config.host, port: config.port });

const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;

answerQuestions(url, {
	/** Writes tokens that nobody has seen yet, one a line, and leaves no garbage for those who measure next. */
	async writeTokens({ file, count }: { file: string; count: number }) {
		const session = await services.sessions.begin(user.id, { userAgent: "bench", address: "127.0.0.1" });
		const newToken = () => app.signAccessToken(services.tokens.claimsFor(user, session, { fresh: true }));
		writeFileSync(file, (await Promise.all(Array.from({ length: count }, newToken))).join("\n"));
		globalThis.gc?.();
	},

	/** Shows each token of a file to `/protected` once, over a socket as any client would. */
	async presentTokens({ file }: { file: string }) {
		for (const token of readFileSync(file, "utf8").split("\n")) {
			const answer = await fetch(`${url}/protected`, { headers: { authorization: `Bearer ${token}` } });
			if (!answer.ok) throw new Error(await answer.text());
			await answer.arrayBuffer();
		}
	},

	/** CPU microseconds of one signature check by node:crypto alone, its key and its input prepared. */
	rawVerifyMicroseconds({ file, count }: { file: string; count: number }) {
		const key = { key: createPublicKey(services.keys.signing().publicPem), dsaEncoding: "ieee-p1363" as const };
		const tokens = readFileSync(file, "utf8").split("\n").slice(0, count);
		const prepared = tokens.map((token) => {
			const [header, payload, signature] = token.split(".") as [string, string, string];
			return { input: Buffer.from(`${header}.${payload}`), signature: Buffer.from(signature, "base64url") };
		});
		const before = process.cpuUsage();
		for (const { input, signature } of prepared)
			if (!verify("sha256", input, key, signature)) throw new Error("A good signature was refused");
		const { user: inUser, system } = process.cpuUsage(before);
		return (inUser + system) / count;
	},

	/** Makes an account whose password is stored at this cost. */
	async addUser({ name, password, cost, disabled }: { name: string; password: string; cost: number; disabled?: true }) {
		const stored = { hash: await hash(password, cost), scheme: "bcrypt" as const };
		const id = await services.users.add(name, stored, ["user"]);
		if (disabled) await services.users.setDisabled(id, true);
		return stored.hash;
	},
});
