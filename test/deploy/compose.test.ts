/** `compose.yaml` and the gateway in front of it: valid, hardened, and of one mind about names, addresses and settings. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { BlockList } from "node:net";
import { join, resolve } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { loadConfig, settings } from "../../src/config/config.ts";
import { needs } from "../cluster/support/packages.ts";
import { testSecret } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

const root = resolve(import.meta.dirname, "../..");
const text = readFileSync(join(root, "compose.yaml"), "utf8");
const haproxy = readFileSync(join(root, "deploy/haproxy/haproxy.cfg"), "utf8");

interface Service {
	image: string;
	environment: Record<string, string>;
	ports?: string[];
	volumes?: string[];
	networks: Record<string, { ipv4_address?: string }>;
	stop_grace_period?: string;
	read_only?: boolean;
	cap_drop?: string[];
	security_opt?: string[];
}
interface Compose {
	services: Record<string, Service>;
	networks: { front: { ipam: { config: [{ subnet: string }] } }; back: { internal: boolean } };
}
const { services, networks } = parse(text, { merge: true }) as Compose;
const replicas = Object.entries(services).filter(([name]) => name.startsWith("gatehouse"));
function service(name: string): Service {
	const found = services[name];
	if (!found) throw new Error(`there is no service ${name}`);
	return found;
}

/** What the linter of compose files, which has the specification's schema, calls an error. */
const lint = (file: string) =>
	spawnSync(process.execPath, [join(root, "node_modules/.bin/dclint"), "--quiet", file], { encoding: "utf8" });

t.test("compose.yaml fits the specification", async (t) => {
	const { status, stdout } = lint(join(root, "compose.yaml"));
	t.equal(status, 0, stdout);
	const broken = join(temporaryFolder(t), "compose.yaml");
	writeFileSync(broken, text.replace("read_only:", "readonly:"));
	t.match(lint(broken).stdout, /must NOT have additional properties/, "a mistyped member would be found");
});

t.test("K08: its variables are settings, and accepted once the four secrets are given", async (t) => {
	t.equal(replicas.length, 2, "two replicas");
	const given: Record<string, string> = {
		SECRET: testSecret,
		POSTGRES_PASSWORD: "letters",
		BOOTSTRAP_USERNAME: "ada",
		BOOTSTRAP_PASSWORD: "granite teapot under moonlight",
	};
	const fill = (value: string) =>
		value.replaceAll(
			/\$\{(\w+)(?::-(.*?)|:\?.*?)\}/g,
			(_all, name: string, fallback?: string) => fallback ?? given[name] ?? "",
		);
	const names = Object.values(settings).map(({ name }) => name as string);
	for (const [name, { environment }] of replicas) {
		for (const variable of Object.keys(environment))
			t.ok(names.includes(variable), `${name}: ${variable} is a setting`);
		const filled = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, fill(value)]));
		const { config } = loadConfig(filled);
		t.equal(config.secret, testSecret, name);
		t.equal(config.databaseUrl, "postgres://gatehouse:letters@database:5432/gatehouse", name);
		const production = { ...filled, NODE_ENV: "production" };
		t.throws(() => loadConfig(production), /https/, "http is for localhost only");
		t.doesNotThrow(() => loadConfig({ ...production, ISSUER: "https://login.example.com" }), name);
		t.same([environment], [replicas[0]?.[1].environment], "the same for every replica");
	}
	for (const name of Object.keys(given)) t.match(text, `\${${name}:?`, `without ${name} it does not start`);
});

t.test("K06: the replicas run without root's powers and without anything to write to", async (t) => {
	for (const [name, replica] of [...replicas, ["gateway", service("gateway")] as const]) {
		t.equal(replica.read_only, true, name);
		t.same(replica.cap_drop, ["ALL"], name);
		t.same(replica.security_opt, ["no-new-privileges:true"], name);
	}
	for (const [name, replica] of replicas) {
		t.equal(replica.ports, undefined, `${name} is reached through the gateway only`);
		const grace = Number(/^(\d+)s$/.exec(replica.stop_grace_period ?? "")?.[1]);
		t.ok(grace >= settings.drainSeconds.fallback + 15, `${name} has time to drain and to end`);
	}
	t.equal(service("database").ports, undefined, "the database is not published");
	t.same(service("database").networks, ["back"], "only the replicas are in its network");
	t.equal(networks.back.internal, true);
});

t.test("the gateway is deploy/haproxy, knows the replicas by name, and is the only one they believe", async (t) => {
	const gateway = service("gateway");
	t.match(gateway.volumes?.[0], /^\.\/deploy\/haproxy\/haproxy\.cfg:.*:ro$/);
	const servers = [...haproxy.matchAll(/^\tserver (\S+) (\S+):(\d+)$/gm)];
	for (const [name] of replicas)
		t.ok(
			servers.some(
				([, label, host, port]) => label === name && host === name && port === String(settings.port.fallback),
			),
			`${name} is a server`,
		);
	t.match(haproxy, /init-addr libc,none/, "a server without a replica does not keep it from starting");
	t.match(haproxy, /^\tbind :8080$/m);
	t.same(gateway.ports, ["127.0.0.1:3000:8080"], "published on this machine only");
	const address = gateway.networks.front?.ipv4_address ?? "";
	for (const [name, { environment, networks: own }] of replicas) {
		t.equal(environment.TRUST_PROXY, address, `${name} believes the gateway alone`);
		t.not(own.front?.ipv4_address, address);
	}
	const [subnet = "", prefix] = networks.front.ipam.config[0].subnet.split("/");
	const front = new BlockList();
	front.addSubnet(subnet, Number(prefix));
	for (const { networks: own } of [gateway, ...replicas.map(([, replica]) => replica)])
		t.ok(front.check(own.front?.ipv4_address ?? ""), "every address is in the network");
});

t.test("HAProxy accepts its configuration", needs("haproxy"), async (t) => {
	const { status, stderr } = spawnSync("haproxy", ["-c", "-f", join(root, "deploy/haproxy/haproxy.cfg")], {
		encoding: "utf8",
	});
	t.equal(status, 0, stderr);
	t.same(
		stderr.split("\n").filter((line) => /WARNING|ALERT/.test(line) && !line.includes("could not resolve address")),
		[],
		"no complaint but that the replicas' names are not known here",
	);
});
