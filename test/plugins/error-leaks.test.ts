/** What one client sent never comes out in another one's answer, and a client that leaves is no fault: row H20, fault 30. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { InjectOptions } from "fastify";
import t from "tap";
import { errors } from "../../src/errors.ts";
import { testApp } from "../support/app.ts";
import { beginSession } from "../support/sessions.ts";
import { host, listen, noConnection } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const formType = "application/x-www-form-urlencoded";

t.test("H20: 64 failing requests at once, each with its mark: no answer shows another one's", async (t) => {
	const house = await testApp(t, {
		settings: { LOGIN_LIMITS: "off" },
		extend: (app) => {
			const config = { access: "public" };
			app.get("/breaks/:mark", { config }, async ({ params }) => {
				await sleep(Math.random() * 5);
				throw new Error(`select '${(params as { mark: string }).mark}'`);
			});
			app.get("/away/:mark", { config }, async ({ params }) => {
				await sleep(Math.random() * 5);
				throw new errors.STORE_UNAVAILABLE({ cause: new Error((params as { mark: string }).mark) });
			});
		},
	});
	const id = await house.addUser("ada");
	const token = await house.tokenFor("ada");
	const { app } = house;
	const post = (url: string, payload: string, type = formType, authorization?: string): InjectOptions => ({
		method: "POST",
		url,
		payload,
		headers: { "content-type": type, ...(authorization === undefined ? {} : { authorization }) },
	});
	const doors: Record<string, (mark: string) => InjectOptions> = {
		"a wrong password": (mark) => post("/login", `username=ada&password=${mark}`),
		"an unknown name": (mark) => post("/login", `username=${mark}&password=${mark}`),
		"an unknown field": (mark) => post("/login", `username=ada&password=x&${mark}=${mark}`),
		"broken JSON": (mark) => post("/login", `{"username":"${mark}","password":${mark}`, "application/json"),
		"an unknown content type": (mark) => post("/login", mark, `text/${mark}`),
		"a refresh token": (mark) => post("/refresh", `refresh_token=${mark}`),
		"a weak password": (mark) =>
			post("/password", `current_password=${mark}&new_password=${mark.slice(0, 9)}`, formType, `Bearer ${token}`),
		"a path": (mark) => ({ url: `/${mark}?${mark}=${mark}` }),
		"a broken path": (mark) => ({ url: `/%zz${mark}` }),
		"a broken token": (mark) => ({ url: "/me", headers: { authorization: `Bearer ${mark}` } }),
		"a forged claim": (mark) => ({
			url: "/me",
			headers: { authorization: `Bearer ${house.mint({ ...house.claims(id), iss: mark }, { [mark]: mark })}` },
		}),
		"a header": (mark) => ({ url: "/me", headers: { "x-request-id": `${mark} ${mark}`, "user-agent": mark } }),
		"an origin": (mark) => ({ method: "POST", url: "/login", headers: { origin: `https://${mark}` } }),
		"a fault": (mark) => ({ url: `/breaks/${mark}` }),
		"a store that is away": (mark) => ({ url: `/away/${mark}` }),
	};
	const names = Object.keys(doors);
	for (let round = 0; round < 4; round++) {
		const answers = await Promise.all(
			Array.from({ length: 64 }, async (_, index) => {
				const what = names[(index + round) % names.length] as string;
				const mark = `mark${round}x${String(index).padStart(2, "0")}`;
				const { statusCode, headers, body } = await app.inject((doors[what] as (mark: string) => InjectOptions)(mark));
				return { what, statusCode, text: JSON.stringify([headers, body]) };
			}),
		);
		for (const { what, statusCode, text } of answers) {
			t.ok(statusCode >= 400, `${what}: it fails`);
			t.notMatch(text, /mark\d/i, `${what}: it shows no mark, its own neither`);
		}
	}
});

t.test(
	"fault 30: a client that leaves after its headers, or after its body, is no fault and does nothing twice",
	async (t) => {
		const house = await testApp(t, { settings: { LOGIN_LIMITS: "off" } });
		const { services } = house;
		const { sessions } = services;
		const id = await house.addUser("ada");
		const port = await listen(house);
		const rejections: unknown[] = [];
		const note = (reason: unknown) => void rejections.push(reason);
		process.on("unhandledRejection", note);
		t.teardown(() => void process.off("unhandledRejection", note));

		/** Sends bytes and leaves: politely, or by a reset. */
		async function leave(bytes: string, how: "end" | "reset"): Promise<void> {
			const socket = connect(port, "127.0.0.1").on("error", () => {});
			await once(socket, "connect");
			await new Promise((resolve) => socket.write(bytes, resolve));
			if (how === "reset") socket.resetAndDestroy();
			else socket.destroy();
		}

		const kept = await beginSession(house, id);
		const asked = [];
		for (let round = 0; round < 10; round++) {
			const own = await beginSession(house, id);
			asked.push(own);
			const doors: [url: string, body: string, token?: string][] = [
				["/login", "username=ada&password=wrong"],
				["/refresh", `refresh_token=${own.refresh}`],
				["/reauthenticate", "password=wrong", own.access],
				["/revoke", `token=${kept.access}x`, own.access],
			];
			for (const [url, body, token] of doors)
				for (const how of ["end", "reset"] as const) {
					const bearer = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
					const head = `POST ${url} HTTP/1.1\r\n${host}${bearer}Content-Type: ${formType}\r\nContent-Length: ${body.length}\r\n\r\n`;
					await leave(head, how);
					await leave(head + body, how);
				}
		}
		await noConnection(house);
		const { passwords } = services;
		await until("no hash is under way", () => passwords.stats().running + passwords.stats().waiting === 0);
		t.same(rejections, [], "no unhandled rejection");
		t.same(
			house.logged.filter(({ level }) => Number(level) >= 50),
			[],
			"and no fault in the log",
		);
		for (const { id: sid } of asked) {
			const found = await sessions.find(sid);
			t.ok(found, "nobody is taken for a thief");
			// Twice sent within the grace time: one step forward, or none where the client left too early.
			t.ok(Number(found?.session.generation) <= 1, "a refresh is done once or not at all");
		}
		t.equal((await sessions.list(id)).length, asked.length + 1, "and no session came or went");
		t.equal((await house.get("/protected", kept.access)).statusCode, 200);
	},
);
