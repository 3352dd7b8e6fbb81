/** A base backup of a database that goes on running. */
import { execFileSync } from "node:child_process";
import { chownSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Owner } from "../../support/process.ts";
import { type Database, databaseFolder, databaseUser } from "./database.ts";
import { connectTo } from "./sql.ts";

/** The files of a server that runs, as a base backup has them: PostgreSQL recovers them to the moment of the copy. */
export async function copyOf(owner: Owner, { data, url }: Database): Promise<string> {
	const folder = databaseFolder(owner);
	const client = await connectTo(url);
	await client.query("select pg_backup_start('copy', true)");
	execFileSync("cp", ["-a", `${data}/.`, folder]);
	const { rows } = await client.query("select labelfile from pg_backup_stop(false)");
	await client.end();
	// The end of the backup is in the log that was written meanwhile.
	execFileSync("cp", ["-a", `${data}/pg_wal/.`, join(folder, "pg_wal")]);
	const label = join(folder, "backup_label");
	writeFileSync(label, rows[0].labelfile);
	const { uid, gid } = databaseUser();
	if (uid !== undefined && gid !== undefined) chownSync(label, uid, gid);
	rmSync(join(folder, "postmaster.pid"), { force: true });
	return folder;
}
