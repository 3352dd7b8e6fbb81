/** Bodies: the strict form and JSON, and only on routes that name them in `schema.consumes`. */
import formbody from "@fastify/formbody";
import fp from "fastify-plugin";
import { errors } from "../src/errors.ts";
import { parseForm } from "../src/form-body.ts";

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
			void parseJson(request, text, done);
		});

		app.addHook("preParsing", (request, _reply, payload, done) => {
			const { schema } = request.routeOptions;
			const { headers } = request;
			// Clients may say application/json on a GET: without a body a Content-Type means nothing.
			const isEmpty = headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) === 0;
			const isMeant = schema?.body === undefined && isEmpty;
			if (!isMeant && !takes(schema?.consumes, headers["content-type"]))
				return done(new errors.UNSUPPORTED_MEDIA_TYPE());
			done(null, payload);
		});
	},
	{ name: "form", dependencies: ["errors"] },
);

/** Whether a Content-Type header names one of the types, in UTF-8 and without decoration (RFC 9110 section 8.3). */
function takes(types: readonly string[] | undefined, header: string | undefined): boolean {
	const match = /^([\w+./-]+)(?: ?; ?charset="?utf-8"?)?$/i.exec(header ?? "");
	return match?.[1] !== undefined && (types ?? []).includes(match[1].toLowerCase());
}
