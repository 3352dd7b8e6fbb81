/** The suite of `npm test` by way of PgBouncer in transaction mode. Row Z24. */
import t from "tap";
import { startPostgres } from "../support/postgres.ts";
import { project } from "../support/process.ts";
import { progress } from "../support/rounds.ts";
import { needs } from "./support/packages.ts";
import { startPgBouncer } from "./support/pgbouncer.ts";
import { queryAt } from "./support/sql.ts";
import { filesOnPostgres, runSuite } from "./support/suite.ts";

/** What is about the connection to the server itself, which here is PgBouncer's: its certificates, its roles, its limits, what it sends. */
const aboutConnections = ["tls.test.ts", "roles.test.ts", "postgres.test.ts", "notifications.test.ts"];

t.test("Z24: the suite passes by way of PgBouncer", needs("pgbouncer"), async (t) => {
	const postgres = await startPostgres();
	t.teardown(() => postgres.stop());
	await queryAt(postgres.url, "alter role postgres set statement_timeout = '2s'");
	await queryAt(postgres.url, "alter role postgres set idle_in_transaction_session_timeout = '5s'");
	const server = await startPgBouncer(t, postgres.url);
	const { passed, failures } = await runSuite(t, { server, files: filesOnPostgres(project, aboutConnections) });
	progress(`${passed} assertions`);
	t.equal(failures, "");
	t.ok(passed > 1000, `${passed} assertions`);
});
