/** What /metrics says: names by Prometheus' rules, numbers that follow what happens, and no label that grows with users. */
import t from "tap";
import { createHistogram } from "../../../src/metrics/histogram.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { table } from "../../../src/metrics/table.ts";
import type { Services } from "../../../src/services.ts";
import { goodPassword, testApp } from "../../support/app.ts";
import { onEachStore } from "../../support/stores.ts";

/** Reads the metrics of these services; answers the value of each series, by its name and labels. */
function createReader(services: Services) {
	const metrics = createMetrics();
	metrics.follow(services);
	return async (): Promise<Map<string, number>> => {
		const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("gatehouse_"));
		return new Map(
			lines.map((line) => {
				const at = line.lastIndexOf(" ");
				return [line.slice(0, at), Number(line.slice(at + 1))] as const;
			}),
		);
	};
}

onEachStore((kind) => {
	t.test(`${kind}: logins, refreshes and verifications are counted by how they ended`, async (t) => {
		const settings = { LOGIN_LIMITS: "on", LOGIN_ACCOUNT_FAILURES: "2" };
		const { app, services, addUser, login, get } = await testApp(t, { store: kind, settings });
		const read = createReader(services);
		const before = await read();
		t.equal(before.get('gatehouse_logins_total{outcome="success"}'), 0, "what has not happened is 0, and is there");
		const refresh = (token: string) =>
			app.inject({ method: "POST", url: "/refresh", payload: { refresh_token: token } });

		await addUser("ada");
		await addUser("bob");
		const pair = (await login("ada")).json<{ access_token: string; refresh_token: string }>();
		// After the free ones each has to wait a second longer: the store's clock may pass one of them.
		let wrong = 0;
		while (wrong < 10 && (await login("bob", `wrong ${goodPassword}`)).statusCode === 401) wrong++;
		t.ok(wrong >= 2 && wrong < 10, `${wrong} wrong ones, then over the limit`);

		const first = (await refresh(pair.refresh_token)).json<{ refresh_token: string }>();
		t.equal((await refresh(pair.refresh_token)).statusCode, 200, "within its grace time");
		t.equal((await refresh(first.refresh_token)).statusCode, 200);
		t.equal((await refresh("nonsense")).statusCode, 401);

		for (let count = 0; count < 3; count++) t.equal((await get("/protected", pair.access_token)).statusCode, 200);
		t.equal((await get("/protected", `${pair.access_token}x`)).statusCode, 401);
		t.equal((await refresh(pair.refresh_token)).statusCode, 401, "used before");
		t.equal((await get("/protected", pair.access_token)).statusCode, 401, "remembered, and refused all the same");

		const after = await read();
		const hashes = 1 + wrong;
		const expected: Record<string, number> = {
			'gatehouse_logins_total{outcome="success"}': 1,
			'gatehouse_logins_total{outcome="refused"}': wrong,
			'gatehouse_logins_total{outcome="limited"}': 1,
			'gatehouse_logins_total{outcome="busy"}': 0,
			'gatehouse_logins_total{outcome="unavailable"}': 0,
			'gatehouse_login_limits_total{kind="account"}': 1,
			'gatehouse_login_limits_total{kind="address"}': 0,
			'gatehouse_refreshes_total{outcome="ok"}': 2,
			'gatehouse_refreshes_total{outcome="grace"}': 1,
			'gatehouse_refreshes_total{outcome="reuse"}': 1,
			'gatehouse_refreshes_total{outcome="refused"}': 1,
			'gatehouse_token_verifications_total{outcome="checked"}': 1,
			'gatehouse_token_verifications_total{outcome="remembered"}': 2,
			'gatehouse_token_verifications_total{outcome="refused"}': 2,
			'gatehouse_security_events_total{event="refresh_token_reuse"}': 1,
			gatehouse_hash_seconds_count: hashes,
			'gatehouse_hash_seconds_bucket{le="+Inf"}': hashes,
			'gatehouse_hash_tasks{state="waiting"}': 0,
			'gatehouse_shed_total{reason="hash_queue"}': 0,
			'gatehouse_ready{status="ok"}': 1,
			'gatehouse_ready{status="stale"}': 0,
			gatehouse_store_up: 1,
			gatehouse_revocations: 1,
			'gatehouse_keys{state="active"}': 1,
			'gatehouse_keys{state="published"}': 0,
			gatehouse_key_rotation_seconds: 30 * 86_400,
			'gatehouse_published_key_waits{reason="time"}': 0,
			gatehouse_security_events_dropped_total: 0,
		};
		for (const [series, value] of Object.entries(expected)) t.equal(after.get(series), value, series);
		const grown = ["gatehouse_store_statement_seconds_count", "gatehouse_store_statement_seconds_sum"];
		for (const series of grown) t.ok((after.get(series) ?? 0) > (before.get(series) ?? 0), series);
		t.notOk(after.has('gatehouse_ready{status="starting"}'), "who starts exports nothing of ours yet");
		t.equal(after.has("gatehouse_listener_up"), kind === "postgres", "only where there are notifications");
		const age = after.get("gatehouse_knowledge_age_seconds") ?? Number.NaN;
		t.ok(age >= 0 && age < 60, `knowledge is ${age} s old`);

		await services.rotation.rotate();
		await services.rotation.advance();
		await services.changes.poll();
		const rotating = await read();
		t.equal(rotating.get('gatehouse_keys{state="published"}'), 1, "a new key is published");
		t.equal(rotating.get('gatehouse_published_key_waits{reason="time"}'), 1, "and waits for its time");
	});
});

t.test("no label grows with users: the series are the same after many accounts, addresses and refusals", async (t) => {
	const { app, services, addUser } = await testApp(t, { settings: { TRUST_PROXY: "127.0.0.1" } });
	const read = createReader(services);
	const before = [...(await read()).keys()];
	for (let count = 0; count < 20; count++) {
		await addUser(`user-${count}`);
		for (const password of [goodPassword, `${goodPassword} ${count}`])
			await app.inject({
				method: "POST",
				url: "/login",
				headers: { "x-forwarded-for": `192.0.2.${count}`, "user-agent": `agent ${count}` },
				payload: { username: `user-${count}`, password },
			});
	}
	const after = await read();
	t.equal(after.get('gatehouse_logins_total{outcome="success"}'), 20);
	t.equal(after.get('gatehouse_logins_total{outcome="refused"}'), 20);
	t.same([...after.keys()], before);
	t.ok(before.length < 250, `${before.length} series`);
});

t.test("names follow Prometheus' rules: base units, _total for what only grows and for nothing else", async (t) => {
	t.equal(new Set(table.map(({ name }) => name)).size, table.length, "each is there once");
	for (const { name, type, help, label } of table) {
		t.match(name, /^gatehouse_[a-z]+(_[a-z]+)*$/);
		t.equal(name.endsWith("_total"), type === "counter", name);
		t.notMatch(name, /_(ms|milliseconds|minutes|percent|kilobytes|megabytes|count|sum|bucket)$/, name);
		if (type === "histogram") t.match(name, /_seconds$/);
		t.ok(help.length > 10 && !help.endsWith(".") && !help.includes("|"), `${name}: ${help}`);
		t.notMatch(label ?? "", /^(le|user|account|address|ip|session|kid|path|url)$/, name);
	}
});

t.test("a histogram counts each duration in its bucket and in all above", async (t) => {
	const { observe, read } = createHistogram([0.1, 1]);
	for (const seconds of [0.05, 0.1, 0.5, 3]) observe(seconds);
	t.same(read(), {
		buckets: [
			[0.1, 2],
			[1, 3],
		],
		sum: 3.65,
		count: 4,
	});
});
