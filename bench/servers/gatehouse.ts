/**
 * Gatehouse as it is, with two more routes: `/protectee` has all of `/protected` but the authentication,
 * `/open-verify` adds to that one raw `crypto.verify`.
 */
import { createPublicKey, verify } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { hash as bcrypt } from "@node-rs/bcrypt";
import { Type } from "@sinclair/typebox";
import { buildApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config/config.ts";
import { createLog } from "../../src/log.ts";
import { openServices } from "../../src/services.ts";
import { username } from "../processes.ts";
import { beginSession } from "./begin-session.ts";
import { answerQuestions } from "./questions.ts";

const { config } = loadConfig(process.env);
const services = await openServices(config, { log: createLog(config.logLevel, false) });
const app = await buildApp(services);
const user = await services.users.getByName(username);

const schema = { response: { 200: Type.Object({ message: Type.String() }, { additionalProperties: false }) } };
const nothing = (_request: unknown, _reply: unknown, done: () => void) => done();

/** Signatures of the tokens that were written last, ready to be checked by node:crypto alone. */
let prepared: { input: Buffer; signature: Buffer }[] = [];
const key = { key: createPublicKey(services.keys.signing().publicPem), dsaEncoding: "ieee-p1363" as const };

// In a context of their own, as the routes of every file are; and as far down the router's tree as `/protected`.
await app.register(async (routes) => {
	routes.get("/protectee", {
		config: { access: "public" },
		schema,
		// The same hooks, but no authentication.
		preHandler: nothing,
		handler: async () => ({ message: `Protected route for user: ${user.id}` }),
	});
	routes.get("/open-verify", {
		config: { access: "public" },
		schema,
		preHandler: nothing,
		handler: async () => {
			const next = prepared.pop();
			if (!next || !verify("sha256", next.input, key, next.signature)) throw new Error("A good signature was refused");
			return { message: `Protected route for user: ${user.id}` };
		},
	});
});
await app.listen({ host: config.host, port: config.port });

const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;

answerQuestions(url, {
	/**
	 * Writes tokens that nobody has seen yet, one a line. No collection is forced here: that makes V8 forget the layouts of
	 * hot objects, and everything costs more from then on.
	 */
	async writeTokens({ file, count }: { file: string; count: number }) {
		const session = await beginSession(services, user.id);
		const newToken = () => app.signAccessToken(services.tokens.claimsFor(user, session, { fresh: true }));
		const tokens = await Promise.all(Array.from({ length: count }, newToken));
		writeFileSync(file, tokens.join("\n"));
		prepared = tokens.map((token) => {
			const end = token.lastIndexOf(".");
			return { input: Buffer.from(token.slice(0, end)), signature: Buffer.from(token.slice(end + 1), "base64url") };
		});
	},

	/** Shows each token of a file to `/protected` once, over a socket as any client would. */
	async presentTokens({ file }: { file: string }) {
		for (const token of readFileSync(file, "utf8").split("\n")) {
			const answer = await fetch(`${url}/protected`, { headers: { authorization: `Bearer ${token}` } });
			if (!answer.ok) throw new Error(await answer.text());
			await answer.arrayBuffer();
		}
	},

	/** What was spent on comparing passwords so far, in hashes at the current cost, and how long one takes. */
	hashing: () => {
		const { work, meanSeconds } = services.passwords.stats();
		return { spent: work.verify, meanSeconds };
	},

	/** Makes an account whose password is stored at this cost. */
	async addUser({ name, password, cost, disabled }: { name: string; password: string; cost: number; disabled?: true }) {
		const stored = { hash: await bcrypt(password, cost), scheme: "bcrypt" as const };
		const id = await services.users.add(name, stored, ["user"]);
		if (disabled) await services.users.setDisabled(id, true);
		return stored.hash;
	},
});
