/** PgBouncer, in transaction mode unless told otherwise, with the lines of docs/operations.md, in front of a database. */
import { chownSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../support/free-port.ts";
import { type Owner, start } from "../../support/process.ts";
import { databaseFolder, databaseUser } from "./database.ts";

/**
 * Starts it. It ends with its owner.
 *
 * @param target the address of the server, with a role and its password.
 * @param ignored what it drops of what a connection asks for at its start.
 * @returns the same address, by way of PgBouncer.
 */
export async function startPgBouncer(
	owner: Owner,
	target: string,
	{ ignored = "statement_timeout,idle_in_transaction_session_timeout", size = 4, mode = "transaction" } = {},
): Promise<string> {
	const url = new URL(target);
	const port = await freePort();
	const folder = databaseFolder(owner);
	const users = join(folder, "users.txt");
	const file = join(folder, "pgbouncer.ini");
	writeFileSync(users, `"${url.username}" "${url.password}"\n`);
	writeFileSync(
		file,
		`[databases]
* = host=${url.hostname} port=${url.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = ${mode}
server_login_retry = 1
default_pool_size = ${size}
max_client_conn = 200
${ignored === "" ? "" : `ignore_startup_parameters = ${ignored}`}
`,
	);
	const { uid, gid } = databaseUser();
	for (const path of [users, file]) if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
	// As root it does not run.
	const as = uid === undefined ? [] : ["-u", "postgres"];
	const bouncer = start(owner, "pgbouncer", [...as, file], {});
	for (let turn = 0; !(await answers(port)); turn++) {
		if (turn > 100 || bouncer.child.exitCode !== null) throw new Error(`PgBouncer did not start:\n${bouncer.stdout()}`);
		await sleep(50);
	}
	url.host = `127.0.0.1:${port}`;
	return url.href;
}

const answers = (port: number) =>
	new Promise<boolean>((resolve) => {
		const socket = connect(port, "127.0.0.1", () => resolve(true));
		socket.on("connect", () => socket.destroy()).on("error", () => resolve(false));
	});
