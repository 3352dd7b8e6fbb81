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
			const abort = () => {
				if (!this.raw.writableFinished) controller.abort();
			};
			// It may have gone while its body was read, or while a guard looked at its token.
			if (this.raw.closed) abort();
			else this.raw.once("close", abort);
			return controller.signal;
		});
	},
	{ name: "hang-up" },
);
