/** TLS to PostgreSQL: what each sslmode checks, on a server whose certificate the test has signed. Row H21. */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { sql } from "kysely";
import { pino } from "pino";
import t, { type Test } from "tap";
import { openStore } from "../../../src/store/store.ts";
import { openStoreLocation, temporaryFolder } from "../../support/stores.ts";
import { until } from "../../support/until.ts";

const clock = { now: () => 1 };
const skip = spawnSync("openssl", ["version"]).status === 0 ? false : "needs openssl";

/** A certificate that nobody but its own file vouches for. */
function selfSigned(folder: string, host: string) {
	const [key, certificate] = [join(folder, `${host}.key`), join(folder, `${host}.pem`)];
	const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${host}`;
	const out = ["-keyout", key, "-out", certificate, "-addext", `subjectAltName=DNS:${host}`];
	execFileSync("openssl", [...words.split(" "), ...out], { stdio: "ignore" });
	return { certificate, key: readFileSync(key), cert: readFileSync(certificate) };
}

/** PostgreSQL behind TLS: answers the question for it with S, as a server that has it does, and speaks plainly behind. */
async function tlsServer(t: Test, databaseUrl: string, certificate: { key: Buffer; cert: Buffer } | undefined) {
	const url = new URL(databaseUrl);
	const target = { host: url.hostname, port: Number(url.port) };
	const sockets = new Set<Socket>();
	const server = createServer((client) => {
		sockets.add(client.on("error", () => client.destroy()));
		client.once("data", () => {
			client.write(certificate ? "S" : "N");
			if (!certificate) return;
			const inside = new TLSSocket(client, { isServer: true, ...certificate });
			const upstream = connect(target);
			for (const socket of [inside, upstream]) sockets.add(socket.on("error", () => socket.destroy()));
			inside.pipe(upstream).pipe(inside);
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	url.host = `localhost:${(server.address() as { port: number }).port}`;
	return (parameters: string) => {
		url.search = parameters;
		return url.href;
	};
}

t.test("H21: a server is trusted because of a certificate, or not at all", { skip }, async (t) => {
	const folder = temporaryFolder(t);
	const { databaseUrl = "", dataDir } = await openStoreLocation(t, "postgres");
	const [right, wrong] = [selfSigned(folder, "localhost"), selfSigned(folder, "elsewhere.example")];
	const open = (databaseUrl: string) => openStore({ databaseUrl, databaseListenUrl: "off", dataDir, clock });
	const opens = async (databaseUrl: string, what: string) => {
		const store = await open(databaseUrl);
		t.same(await store.migrate(), [], what);
		await store.close();
	};
	const refuses = (databaseUrl: string, message: RegExp) =>
		t.rejects(open(databaseUrl), { code: "STORE_UNAVAILABLE", message });
	await open(databaseUrl).then(async (store) => {
		await store.migrate();
		await store.close();
	});

	const self = await tlsServer(t, databaseUrl, right);
	// pg takes these words for verify-full. libpq would look at nothing for the first two.
	for (const mode of ["verify-full", "verify-ca", "require", "prefer"])
		await refuses(self(`sslmode=${mode}`), /self-signed certificate.*sslrootcert=FILE/);
	await opens(self(`sslmode=verify-full&sslrootcert=${right.certificate}`), "with the certificate it is trusted");
	await refuses(self(`sslmode=verify-full&sslrootcert=${wrong.certificate}`), /certificate/);
	await refuses(self(`sslmode=verify-full&sslrootcert=${join(folder, "missing.pem")}`), /ENOENT/);
	await opens(self("sslmode=no-verify"), "who asks for no check gets none");

	const copy = join(folder, "copy.pem");
	copyFileSync(right.certificate, copy);
	const url = self(`sslmode=verify-full&sslrootcert=${copy}`);
	const store = await openStore({ databaseUrl: url, dataDir, clock });
	const listener = store.listen({ onWake: () => {}, log: pino({ level: "silent" }) });
	const listens = (so: boolean) => until("it listens, or not", () => listener.listening() === so, { seconds: 20 });
	await listens(true);
	const cut = () =>
		sql`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()`.execute(
			store.db,
		);
	rmSync(copy);
	await cut();
	await listens(false);
	await listens(true);
	// More than there are connections: pg makes the rest where nobody could catch what reading the file throws.
	const answers = await Promise.allSettled(Array.from({ length: 20 }, () => store.now()));
	t.same([...new Set(answers.map(({ status }) => status))], ["fulfilled"], "a file that is gone is taken as it was");
	copyFileSync(wrong.certificate, copy);
	await cut();
	await listens(false);
	await t.rejects(Promise.all([store.now(), store.now()]), { code: "STORE_UNAVAILABLE" }, "a renewed one counts");
	await listener.close();
	await store.close();

	const other = await tlsServer(t, databaseUrl, wrong);
	await refuses(other(`sslmode=verify-full&sslrootcert=${wrong.certificate}`), /another host/);
	const plain = await tlsServer(t, databaseUrl, undefined);
	await refuses(plain(`sslmode=verify-full&sslrootcert=${right.certificate}`), /does not support SSL/);
});
