/** What an administrator can do about sessions from the command line, beside a server that runs. */
import t from "tap";
import { goodPassword } from "../support/app.ts";
import { rootAccount, run, startServer, testSecret } from "../support/process.ts";
import { openStoreLocation } from "../support/stores.ts";
import { untilStatus } from "../support/until.ts";

interface Tokens {
	access_token: string;
	refresh_token: string;
}

for (const kind of ["sqlite", "postgres"] as const)
	t.test(`V03 on ${kind}: an administrator lists and ends the sessions of an account`, async (t) => {
		const { databaseUrl, dataDir } = await openStoreLocation(t, kind);
		const settings = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, SECRET: testSecret, ...rootAccount };
		const server = await startServer(t, settings);
		const cli = (line: string, input = "") => run(t, line.split(" "), settings, input);
		t.match(await cli("user add ada --password-stdin", goodPassword), { code: 0 });
		const login = async () => (await (await server.login("ada")).json()) as Tokens;
		const use = (token: string) => () => server.get("/protected", token);
		const [first, second] = [await login(), await login()];
		const root = await server.tokenFor("root");

		const listed = JSON.parse((await cli("user sessions ada --json")).stdout) as { id: string }[];
		t.equal(listed.length, 2);
		const { sid } = JSON.parse(Buffer.from(first.access_token.split(".")[1] ?? "", "base64url").toString());
		t.ok(listed.some(({ id }) => id === sid));
		t.match((await cli("user sessions ada")).stdout, sid);

		t.match(await cli(`user logout ada ${sid}`), { code: 0, stdout: `ada is logged out of the session ${sid}\n` });
		t.ok((await untilStatus(401, use(first.access_token))) < 1000, "the one that was named ends");
		t.equal((await use(second.access_token)()).status, 200, "the other goes on");
		t.match(await cli(`user logout ada ${sid}`), { code: 1, stderr: "gatehouse: There is no such session\n" });
		t.match(await cli(`user logout root ${listed[0]?.id}`), { code: 1 }, "nobody ends one through another's name");
		t.equal((await use(second.access_token)()).status, 200);

		t.match(await cli("user roles ada user admin"), { code: 0 });
		t.equal((await use(second.access_token)()).status, 200, "new roles wait for the next token");
		t.match(await cli("user roles ada user --now"), { code: 0, stdout: "ada: user\n" });
		t.ok((await untilStatus(401, use(second.access_token))) < 1000, "--now ends what has the old ones");

		const third = await login();
		t.match(await cli("user logout ada"), { code: 0, stdout: "ada is logged out of all of its sessions\n" });
		t.ok((await untilStatus(401, use(third.access_token))) < 1000);
		const refresh = await fetch(`${server.url}/refresh`, {
			method: "POST",
			body: new URLSearchParams({ refresh_token: third.refresh_token }),
		});
		t.equal(refresh.status, 401);
		t.equal((await use(root)()).status, 200, "nobody else is logged out");
		t.match(await cli("user roles ada --now"), { code: 2, stderr: /--now goes with the roles to give/ });
		t.match(await cli("user logout"), { code: 2, stderr: /NAME is missing/ });
	});
