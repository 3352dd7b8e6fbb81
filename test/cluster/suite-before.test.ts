/** The previous version on the tables of this one: its own suite passes. Row Z17, fault 26. */
import t from "tap";
import { createMigrations } from "../../src/store/migrations.ts";
import { startPostgres } from "../support/postgres.ts";
import { progress } from "../support/rounds.ts";
import { makeTables } from "../support/template.ts";
import { needsHistory, unpackVersion, versions } from "./support/old-version.ts";
import { filesOnPostgres, runSuite } from "./support/suite.ts";

/** What needs a database without tables. This version's own suite has every other one with them, as it always does. */
const aboutMigrations = ["migrations.test.ts", "roles.test.ts", "postgres.test.ts"];

t.test(
	"Z17, fault 26: the suite of the previous version passes on the tables of this one",
	needsHistory(versions.previous),
	async (t) => {
		t.equal(Object.keys(createMigrations("postgres")).length, versions.previous.migrations + 1, "one migration ago");
		const postgres = await startPostgres();
		t.teardown(() => postgres.stop());
		await makeTables(postgres.url);
		const folder = unpackVersion(t, versions.previous);
		const files = filesOnPostgres(folder, aboutMigrations);
		const { passed, failures } = await runSuite(t, { server: postgres.url, files, folder });
		progress(`${passed} assertions`);
		t.equal(failures, "");
		t.ok(passed > 1000, `${passed} assertions`);
	},
);
