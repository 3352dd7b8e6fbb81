/** What a project writes in an hour: @fastify/jwt, and bcrypt without any bound on how much of it runs. */
import { generateKeyPairSync } from "node:crypto";
import type { AddressInfo } from "node:net";
import formbody from "@fastify/formbody";
import jwt from "@fastify/jwt";
import { hash, verify } from "@node-rs/bcrypt";
import Fastify from "fastify";
import { answerQuestions } from "./questions.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", {
	namedCurve: "P-256",
	privateKeyEncoding: { type: "pkcs8", format: "pem" },
	publicKeyEncoding: { type: "spki", format: "pem" },
});
const users = new Map<string, string>();

const app = Fastify();
await app.register(formbody);
await app.register(jwt, { secret: { private: privateKey, public: publicKey }, sign: { algorithm: "ES256" } });
app.post<{ Body: { username: string; password: string } }>("/login", async ({ body }, reply) => {
	const stored = users.get(body.username);
	if (!stored || !(await verify(body.password, stored)))
		return reply.code(401).send({ message: "Invalid credentials" });
	return { access_token: app.jwt.sign({ sub: body.username }, { expiresIn: "15m" }) };
});
app.get("/protected", {
	onRequest: async (request) => void (await request.jwtVerify()),
	handler: async (request) => ({ message: `Protected route for user: ${(request.user as { sub: string }).sub}` }),
});
await app.listen({ host: "127.0.0.1", port: 0 });

answerQuestions(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, {
	async addUser({ name, password, cost }: { name: string; password: string; cost: number }) {
		const stored = await hash(password, cost);
		users.set(name, stored);
		return stored;
	},
});
