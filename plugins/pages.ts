/** `reply.sendPage()`: answers for people, as src/pages makes them. */
import type { FastifyReply } from "fastify";
import fp from "fastify-plugin";
import type { Page } from "../src/pages/page.ts";

declare module "fastify" {
	interface FastifyReply {
		/** Sends a page, or sends the browser on to another. */
		sendPage(page: Page): this;
	}
}

export default fp(
	async (app) => {
		app.decorateReply("sendPage", function (this: FastifyReply, { statusCode, headers, body }: Page) {
			return this.code(statusCode).headers(headers).send(body);
		});
	},
	{ name: "pages" },
);
