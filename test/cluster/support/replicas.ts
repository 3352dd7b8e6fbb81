/** Replicas of the real service on one PostgreSQL, each on a port that it keeps when it is started again. */
import { freePort } from "../../support/free-port.ts";
import {
	type Owner,
	type RunningServer,
	rootAccount,
	run,
	type Settings,
	startServer,
	testSecret,
} from "../../support/process.ts";
import type { Database } from "./database.ts";

/** One of them. */
export interface Replica {
	readonly port: number;
	readonly url: string;
	/** The process that runs now. */
	readonly server: RunningServer;
	/** Starts it, on its port; resolves when it is ready. */
	start(settings?: Settings): Promise<RunningServer>;
	/** SIGTERM, and waits for its end. */
	end(): Promise<void>;
	/** SIGKILL, and waits until it is gone. */
	kill(): Promise<void>;
	/** SIGSTOP. */
	freeze(): void;
	/** SIGCONT. */
	thaw(): void;
}

/** What every replica has in common; the hash costs little, because these tests are about everything else. */
export const commonSettings = (databaseUrl: string): Settings => ({
	...rootAccount,
	NODE_ENV: "production",
	ISSUER: "https://login.example.com",
	SECRET: testSecret,
	DATABASE_URL: databaseUrl,
	TRUST_PROXY: "127.0.0.1",
	HASH_THREADS: "1",
	LOG_LEVEL: "info",
});

/** Starts `count` replicas, all at once as a cluster would. `settings` may differ between them. */
export async function startReplicas(
	owner: Owner,
	databaseUrl: string,
	{ count = 3, settings = {} }: { count?: number; settings?: Settings | ((index: number) => Settings) } = {},
): Promise<Replica[]> {
	const replicas: Replica[] = [];
	for (let index = 0; index < count; index++) {
		const own = typeof settings === "function" ? settings(index) : settings;
		replicas.push(await createReplica(owner, { ...commonSettings(databaseUrl), ...own }));
	}
	await Promise.all(replicas.map((replica) => replica.start()));
	return replicas;
}

/** One replica, not started. */
export async function createReplica(owner: Owner, settings: Settings): Promise<Replica> {
	const port = await freePort();
	let server: RunningServer | undefined;
	const running = (): RunningServer => {
		if (!server) throw new Error("This replica was never started");
		return server;
	};
	return {
		port,
		url: `http://127.0.0.1:${port}`,
		get server() {
			return running();
		},
		async start(more = {}) {
			server = await startServer(owner, { ...settings, PORT: String(port), ...more });
			return server;
		},
		async end() {
			running().signal("SIGTERM");
			await running().ended;
		},
		kill: () => running().kill(),
		freeze: () => running().signal("SIGSTOP"),
		thaw: () => running().signal("SIGCONT"),
	};
}

/** Runs a command of the command line against the store of the replicas. */
export const command = (owner: Owner, databaseUrl: string, words: string[], input = "") =>
	run(owner, words, commonSettings(databaseUrl), input);

/** Makes the accounts `user0`, `user1`, … as copies of `root`, with its password: a command each would take a second each. */
export async function addUsers({ query }: Pick<Database, "query">, count: number): Promise<string[]> {
	const names = Array.from({ length: count }, (_, index) => `user${index}`);
	await query(
		// An id as src/random.ts makes them: 128 random bits in 22 letters of base64url.
		`insert into users (id, username, password_hash, password_scheme, password_changed_at, created_at)
		select rtrim(translate(encode(uuid_send(gen_random_uuid()), 'base64'), '+/', '-_'), '='), name, password_hash, password_scheme, password_changed_at, created_at
		from users, unnest($1::text[]) as name where username = 'root'`,
		[names],
	);
	await query("insert into user_roles (user_id, role) select id, 'user' from users where username = any($1)", [names]);
	return names;
}
