/** `reply.hungUp()`: tells work that waits in a queue that nobody waits for its answer any more. */
import fp from "fastify-plugin";

declare module "fastify" {
	interface FastifyReply {
		/** A signal that aborts when the client closes the connection before it has its answer. */
		hungUp(): AbortSignal;
	}
}

export default fp(
	async (app) => {
		// Not request.signal: that one follows the request's stream, which is closed as soon as its body was read.
		app.decorateReply("hungUp", function () {
			const controller = new AbortController();
			this.raw.once("close", () => {
				if (!this.raw.writableFinished) controller.abort();
			});
			return controller.signal;
		});
	},
	{ name: "hang-up" },
);
