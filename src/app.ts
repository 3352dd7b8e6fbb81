/** The Fastify application: its limits, then `plugins/`, then `routes/`, both by autoload. Nothing listens here. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import autoload from "@fastify/autoload";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import Fastify, {
	type FastifyBaseLogger,
	type FastifyInstance,
	type FastifyReply,
	LogController,
	type RawServerDefault,
} from "fastify";
import { describe } from "./error-answers.ts";
import { errors } from "./errors.ts";
import { requestId, standardHeaders } from "./headers.ts";
import { createHttpServer } from "./http-server.ts";
import { type Log, requestLog } from "./log.ts";
import type { Services } from "./services.ts";
import { plainAddress } from "./throttle/network.ts";
import { createTrust } from "./trusted-proxies.ts";

/** The instance as routes and plugins see it: schemas give the types. */
export type App = FastifyInstance<
	RawServerDefault,
	IncomingMessage,
	ServerResponse,
	FastifyBaseLogger,
	TypeBoxTypeProvider
>;

/** What a request may cost. Bytes and letters; times and headers are limited in src/http-server.ts. */
const limits = { bodyBytes: 16 * 1024, pathParameterLetters: 100 };

/** How long a client has to read the answer to a broken request before its connection goes. */
const lingerMs = 1_000;

/** Builds the application over open services and a server, which it answers as soon as it is ready. The caller closes all. */
export async function buildApp(services: Services, server: Server = createHttpServer()): Promise<App> {
	const isProxy = createTrust(services.config.trustProxy);
	const app = Fastify({
		serverFactory: () => server,
		// No `loggerInstance`: with it Fastify listens to the end of every answer, in order to log it. And no
		// `childLoggerFactory`, whose product is examined for each request: plugins/front.ts gives a request its log.
		// Refusals and logins are logged where they happen, by the error handler and the routes: a line for every
		// successful request would cost more than the request, and the gateway has one.
		logController: new LogController({ disableRequestLogging: true }),
		// Only a proxy's: a client that names its requests could have them taken for somebody else's in the log.
		genReqId: ({ headers, socket }) => {
			const given = headers["x-request-id"];
			return requestId(given !== undefined && isProxy(socket.remoteAddress) ? given : undefined);
		},
		requestIdHeader: false,
		bodyLimit: limits.bodyBytes,
		// In-flight requests finish and idle connections are closed by whoever shuts down (src/serve.ts).
		forceCloseConnections: false,
		return503OnClosing: false,
		// Some proxies name the one before them with its port.
		trustProxy: services.config.trustProxy.length > 0 ? (address) => isProxy(address && plainAddress(address)) : false,
		routerOptions: { maxParamLength: limits.pathParameterLetters },
		ajv: {
			customOptions: {
				coerceTypes: false,
				removeAdditional: false,
				useDefaults: false,
				allErrors: false,
			},
		},
		frameworkErrors: (error, request, reply) => {
			const { body, headers } = describe(error);
			const log = requestLog(services.log, request.id);
			log.info({ code: body.code, address: request.ip }, "request refused by the router");
			const answer = reply as FastifyReply;
			void answer
				.code(body.statusCode)
				.headers({ ...standardHeaders, ...headers, "x-request-id": request.id })
				.send(body);
		},
		clientErrorHandler: (error, socket) => answerBrokenRequest(services.log, error, socket),
	}).withTypeProvider<TypeBoxTypeProvider>();
	server.on("drop", services.pressure.refuseConnection);
	// Without a listener Node does not answer a CONNECT at all.
	server.on("connect", (_request, socket: Socket) => {
		// Node has taken its own listener off this socket: unheard, a reset would end the process.
		socket.on("error", () => socket.destroy());
		answerBrokenRequest(services.log, new errors.NOT_FOUND(), socket);
	});

	const here = (folder: string) => fileURLToPath(new URL(`../${folder}`, import.meta.url));
	await app.register(autoload, {
		dir: here("plugins"),
		encapsulate: false,
		options: { services },
		forceESM: true,
	});
	await app.register(autoload, {
		dir: here("routes"),
		dirNameRoutePrefix: false,
		forceESM: true,
	});
	app.addHook("onReady", async () => {
		server.removeAllListeners("request").on("request", app.routing);
		// Without a listener Node answers an Expect that it does not know with a bare 417: RFC 9110 section 10.1.1 lets a
		// server ignore it.
		server.on("checkExpectation", app.routing);
	});
	return app as App;
}

/** Answers what the HTTP parser refused, on the bare socket (RFC 9112 section 2.2), and closes it. */
function answerBrokenRequest(log: Log, error: Error & { code?: string }, socket: Socket): void {
	if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) return void socket.destroy();
	// A request whose answer has begun before its body broke: a second answer would be taken for the next request's.
	const { _httpMessage: begun } = socket as { _httpMessage?: ServerResponse };
	if (begun?.headersSent) return void socket.destroySoon();
	// Whatever broke the request is the client's doing, also where Node's code is unknown.
	const { body } = describe("statusCode" in error ? error : Object.assign(error, { statusCode: 400 }));
	const id = requestId(undefined);
	log.info(
		{
			reqId: id,
			code: body.code,
			reason: error.code,
			address: socket.remoteAddress,
		},
		"request refused by the parser",
	);
	const text = JSON.stringify(body);
	const headers = {
		...standardHeaders,
		"content-type": "application/json; charset=utf-8",
		"content-length": String(Buffer.byteLength(text)),
		connection: "close",
		"x-request-id": id,
	};
	const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
	socket.end(`HTTP/1.1 ${body.statusCode} ${body.error}\r\n${head.join("")}\r\n${text}`);
	// A client that does not close its side would keep the connection, and the end of this process, open for ever.
	setTimeout(() => socket.destroy(), lingerMs).unref();
}
