/** One server process: opens, listens, tells where, and ends well. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { type App, buildApp } from "./app.ts";
import { initialPasswordFile } from "./bootstrap.ts";
import { browsable, type Config } from "./config/config.ts";
import { createHttpServer, watchConnections } from "./http-server.ts";
import { createLog, type Log } from "./log.ts";
import type { Management } from "./management.ts";
import { openServices, type Services } from "./services.ts";
import type { TraceExportOptions } from "./trace-export.ts";
import type { Tracing } from "./tracing.ts";

/** Requests that run longer than this after the drain time are cut. */
const lastRequestsMs = 8_000;
/** How often connections without a request are closed then. */
const idleConnectionsMs = 200;
/** How long the end waits for whoever reads the log. */
const lastLinesMs = 500;
/** Signals that come so close together are one. */
const sameSignalMs = 1_000;

/** What has to be closed at the end. */
interface Serving {
	app: App;
	server: Server;
	closeIdle: () => void;
	services: Services;
	management: Management | undefined;
}

/** How long the end of a process may take. */
interface Patience {
	drainSeconds: number;
	lastRequestsMs: number;
}
const atOnce: Patience = { drainSeconds: 0, lastRequestsMs: 0 };

/**
 * Serves until a signal ends it.
 *
 * SIGTERM, as a cluster sends it: readiness goes off, normal service goes on for DRAIN_SECONDS, then no new
 * connections, in-flight requests finish, exit 0. SIGINT, as a person types it: at once.
 *
 * @param terminal a person is watching standard output.
 */
export async function serve(config: Config, terminal: boolean): Promise<void> {
	const tracing = await openTracing(config, {
		onFailure: (reason) => log.warn({ reason }, "traces cannot be exported; they are dropped"),
		onRecovery: () => log.info("traces are exported again"),
	});
	const log = createLog(config.logLevel, terminal, tracing?.logFields);
	const endByFault = (reason: unknown) => {
		const err = reason instanceof Error ? reason : new Error(inspect(reason));
		log.fatal({ err }, "a fault that nobody handled; the process ends");
		process.exit(1);
	};
	// Rejections as well: Node would hand an error without a stack, as ours are, on without its code and its cause.
	process.on("uncaughtException", endByFault).on("unhandledRejection", endByFault);
	let serving: Serving | undefined;
	// From here on, and not only when it serves: process 1 of a container gets no signal that it does not listen to.
	onSignal(log, (signal) => {
		if (!serving) process.exit(0);
		return close(serving, signal === "SIGTERM" ? { drainSeconds: config.drainSeconds, lastRequestsMs } : atOnce);
	});

	const management = await openManagement(config, log);
	const server = createHttpServer();
	const closeIdle = watchConnections(server);
	server.listen(config.port, config.host);
	await once(server, "listening");
	const services = await openServices(config, { log, tracing });
	const app = await buildApp(services, server);
	await app.ready();
	management?.follow(services);

	const { port } = server.address() as AddressInfo;
	const url = browsable(config.host, port);
	serving = { app, server, closeIdle, services, management };
	// Whatever LOG_LEVEL is: nobody is to run so without knowing it.
	if (!config.loginLimits)
		log
			.child({}, { level: "warn" })
			.warn("LOGIN_LIMITS=off: anybody may guess passwords without end. This is for load tests and nothing else");
	if (terminal) greet(services, url);
	else announce(services, url);
}

/** The management listener, where there is to be one. Imported on need: nobody else pays for the metrics. */
async function openManagement(config: Config, log: Log): Promise<Management | undefined> {
	const { managementHost: host, managementPort: port } = config;
	if (port === undefined) return undefined;
	return (await import("./management.ts")).openManagement({ host, port, log });
}

/** Traces, where they are on. Imported on need: nobody else pays for them. */
async function openTracing(
	{ tracesEndpoint: endpoint, tracesServiceName: serviceName, tracesRatio: ratio }: Config,
	callbacks: Pick<TraceExportOptions, "onFailure" | "onRecovery">,
): Promise<Tracing | undefined> {
	if (endpoint === undefined) return undefined;
	return (await import("./tracing.ts")).openTracing({ endpoint, serviceName, ratio, ...callbacks });
}

/** Ends the process by `end` at the first signal, and by force at the next one. */
function onSignal(log: Log, end: (signal: NodeJS.Signals) => Promise<void>): void {
	let firstMs: number | undefined;
	const handle = (signal: NodeJS.Signals) => {
		if (firstMs !== undefined) {
			// npm passes on what a terminal, or `kill` with a process group, has sent to us as well.
			if (performance.now() - firstMs > sameSignalMs) process.exit(1);
			return;
		}
		firstMs = performance.now();
		end(signal).then(
			async () => {
				// A reader of the log that is slow gets the last lines; one that has stopped does not hold the end.
				await Promise.race([new Promise<void>((resolve) => log.flush(() => resolve())), sleep(lastLinesMs)]);
				process.exit(0);
			},
			(error: unknown) => {
				log.fatal({ err: error }, "the process did not end well");
				process.exit(1);
			},
		);
	};
	process.on("SIGTERM", handle).on("SIGINT", handle);
}

/**
 * Ends one server: first for the load balancer, then for the clients, then for the store. Keep-alive clients do not hold
 * it: while it drains each answer says `Connection: close`, and idle connections close with the listener.
 */
async function close({ app, server, closeIdle, services, management }: Serving, patience: Patience): Promise<void> {
	const { drainSeconds } = patience;
	services.readiness.drain();
	services.log.info({ drainSeconds }, "draining");
	await sleep(drainSeconds * 1000);
	const ended = once(server, "close");
	server.close();
	// A connection whose answer began before the drain was not told to close, and may be idle now.
	const idle = setInterval(closeIdle, idleConnectionsMs);
	const limit = setTimeout(() => server.closeAllConnections(), patience.lastRequestsMs);
	await ended;
	clearInterval(idle);
	clearTimeout(limit);
	await app.close();
	await services.close();
	await management?.close();
	await services.tracing?.close();
	services.log.info("ended");
}

/** The command that makes an account, here and in the image. */
const addAdministrator =
	"npm run cli -- user add NAME --role admin (in the image: gatehouse user add NAME --role admin)";

/** For programs: one line with what was started. The password itself is never logged. */
function announce({ bootstrapped, log, config }: Services, url: string): void {
	log.info(
		{
			url,
			issuer: config.issuer,
			store: config.databaseUrl ? "postgres" : "sqlite",
			withoutStore: withoutStore(config),
		},
		"Gatehouse is ready",
	);
	if (bootstrapped.outcome === "made") {
		const { username, passwordFile } = bootstrapped;
		log.info({ username, passwordFile }, "the first administrator was made");
	}
	if (bootstrapped.outcome === "missing") log.warn(`there is no account yet; make one with: ${addAdministrator}`);
}

/** What goes on while the store is away, and for how long. */
const withoutStore = ({ revocationMaxStalenessSeconds: seconds }: Config): string =>
	`${seconds === 0 ? "tokens are refused at once" : `tokens are accepted for ${seconds} s`}, login, refresh and every change answer 503; the key set is always given`;

/** For a person: where it listens and what to type next. */
function greet({ bootstrapped, config }: Services, url: string): void {
	const lines = [`Gatehouse listens on ${url}`, ""];
	let username = "NAME";
	let password = "PASSWORD";
	if (bootstrapped.outcome === "made") {
		username = bootstrapped.username;
		lines.push(`The first administrator is ${username}.`);
		if (bootstrapped.password !== undefined) {
			password = bootstrapped.password;
			lines.push(
				`Its password is shown only this once; until it is changed it also lies in ${initialPasswordFile(config)}`,
			);
		}
		lines.push("");
	}
	if (bootstrapped.outcome === "missing") lines.push(`There is no account yet. Make one: ${addAdministrator}`, "");
	lines.push(
		"Log in:",
		`  curl --data-urlencode 'username=${username}' --data-urlencode 'password=${password}' ${url}/login`,
		"and use the access_token of the answer:",
		`  curl -H "Authorization: Bearer ACCESS_TOKEN" ${url}/protected`,
		"",
		...(config.docs ? [`All routes: ${url}/docs`] : []),
		`While the store is away: ${withoutStore(config)}.`,
		"Ctrl+C ends it.",
		"",
	);
	process.stdout.write(`\n${lines.join("\n")}\n`);
}
