/** Bodies: the strict form and JSON, and only on routes that name them in `schema.consumes`. */
import formbody from "@fastify/formbody";
import type { TSchema } from "@sinclair/typebox";
import type { preParsingHookHandler } from "fastify";
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import { parseForm } from "../src/form-body.ts";
import { assertUniqueMembers } from "../src/json-body.ts";
import { isOptionalBody } from "../src/schemas.ts";

/** Methods whose body Fastify does not read. */
const bodyless = new Set(["GET", "HEAD"]);

export default fp(
	async (app) => {
		app.removeAllContentTypeParsers();
		await app.register(formbody, { parser: parseForm });
		const parseJson = app.getDefaultJsonParser("error", "error");
		const utf8 = new TextDecoder("utf-8", { fatal: true });
		app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, body, done) => {
			let text: string;
			try {
				text = utf8.decode(body);
			} catch (cause) {
				return done(new errors.MALFORMED_REQUEST({ cause }));
			}
			void parseJson(request, text, (error, value) => {
				if (error) return done(error);
				try {
					assertUniqueMembers(text);
					done(null, value);
				} catch (twice) {
					done(twice as Error);
				}
			});
		});

		// On the routes that can have a body, and on no other: the rest need not pay for it.
		app.addHook("onRoute", (route) => {
			const { body, consumes } = route.schema ?? {};
			if ([route.method].flat().every((method) => bodyless.has(method))) return;
			const check: preParsingHookHandler = ({ headers }, _reply, payload, done) => {
				const isEmpty = headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) === 0;
				const isMeant = isEmpty && (body === undefined || isOptionalBody(body as TSchema));
				// Clients may send a Content-Type without a body: then it means nothing, and no parser is to look for one.
				if (isMeant) delete headers["content-type"];
				if (isMeant || takes(consumes, headers["content-type"])) done(null, payload);
				else done(new errors.UNSUPPORTED_MEDIA_TYPE());
			};
			route.preParsing = [check, ...[route.preParsing ?? []].flat()];
		});
	},
	{ name: "form", dependencies: ["errors"] },
);

/** Whether a Content-Type header names one of the types, in UTF-8 and without decoration (RFC 9110 section 8.3). */
function takes(types: readonly string[] | undefined, header: string | undefined): boolean {
	const match = /^([\w+./-]+)(?: ?; ?charset="?utf-8"?)?$/i.exec(header ?? "");
	return match?.[1] !== undefined && (types ?? []).includes(match[1].toLowerCase());
}
