/** A browser as far as cookies go: it keeps what a real one would keep, and sends it along. */
import type { LightMyRequestResponse } from "fastify";
import { form, goodPassword, type TestApp } from "./app.ts";

/** One Set-Cookie header, taken apart. */
export interface SetCookie {
	name: string;
	value: string;
	/** Lower-case names; a flag is the empty text. */
	attributes: Record<string, string>;
}

/** The Set-Cookie headers of an answer. */
export function setCookies({ headers }: Pick<LightMyRequestResponse, "headers">): SetCookie[] {
	return [headers["set-cookie"] ?? []].flat().map((line) => {
		const [pair = "", ...rest] = line.split("; ");
		const equals = pair.indexOf("=");
		const attributes = rest.map((text) => {
			const [name = "", value = ""] = text.split("=", 2);
			return [name.toLowerCase(), value] as const;
		});
		return { name: pair.slice(0, equals), value: pair.slice(equals + 1), attributes: Object.fromEntries(attributes) };
	});
}

export interface Post {
	method?: "POST" | "DELETE" | "GET";
	fields?: Record<string, string>;
	/** A body as it stands, instead of fields. */
	payload?: string;
	headers?: Record<string, string>;
}

/** What a page of this very site sends. */
export const sameOrigin = { "sec-fetch-site": "same-origin", origin: "http://localhost:80" };

export type Jar = ReturnType<typeof createJar>;

/** A jar over an application, empty. */
export function createJar({ app }: Pick<TestApp, "app">) {
	const cookies = new Map<string, string>();

	const jar = {
		cookies,
		/** The Cookie header. */
		header: (): string => [...cookies].map(([name, value]) => `${name}=${value}`).join("; "),
		csrf: (): string => cookies.get("__Host-csrf") ?? "",

		/** Takes the cookies of an answer as RFC 6265bis section 5.7 has it: `__Host-` has conditions, long ones are dropped. */
		take(answer: LightMyRequestResponse): LightMyRequestResponse {
			for (const { name, value, attributes } of setCookies(answer)) {
				const isHost = "secure" in attributes && attributes.path === "/" && !("domain" in attributes);
				if ((name.startsWith("__Host-") && !isHost) || name.length + value.length > 4096) continue;
				if (value === "" || Number(attributes["max-age"]) <= 0) cookies.delete(name);
				else cookies.set(name, value);
			}
			return answer;
		},

		/** Sends a request with the cookies as they are now, and does not look at those of the answer. */
		async send(
			url: string,
			{ method = "POST", fields = {}, payload, headers = {} }: Post = {},
		): Promise<LightMyRequestResponse> {
			const body = method === "POST" ? form(fields) : { headers: {} };
			return app.inject({
				...body,
				...(payload === undefined ? {} : { payload }),
				method,
				url,
				headers: { host: "localhost:80", ...body.headers, cookie: jar.header(), ...headers },
			});
		},

		/** Sends as a page of this site does, with the double-submit value, and takes the answer's cookies. */
		async post(url: string, { headers, ...rest }: Post = {}): Promise<LightMyRequestResponse> {
			const own = { ...sameOrigin, "x-csrf-token": jar.csrf() };
			return jar.take(await jar.send(url, { ...rest, headers: { ...own, ...headers } }));
		},

		get: (url: string, headers: Record<string, string> = {}) => jar.send(url, { method: "GET", headers }),

		/** Logs in with cookies. */
		login: (username: string, password = goodPassword) =>
			jar.post("/login", { fields: { username, password, delivery: "cookie" } }),
	};
	return jar;
}
