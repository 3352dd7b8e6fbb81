/**
 * `deploy/kubernetes/`: what would be applied is valid, hardened, and fits this very service: its settings, its probes,
 * its ports, its secrets. Nothing here needs a cluster.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t, { type Test } from "tap";
import { loadConfig, settings } from "../../src/config/config.ts";
import { findProbe } from "../../src/probes.ts";
import { testApp } from "../support/app.ts";
import { compose, type Manifest, readManifests } from "../support/kustomize.ts";
import { testSecret, withoutTap } from "../support/process.ts";
import { temporaryFolder } from "../support/stores.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = join(root, "deploy/kubernetes");
const variants = { base: compose(join(folder, "base")), sqlite: compose(join(folder, "sqlite")) };
type Variant = keyof typeof variants;
const everyVariant = Object.entries(variants) as [Variant, Manifest[]][];
const isServer = { "app.kubernetes.io/name": "gatehouse", "app.kubernetes.io/component": "server" };

interface Probe {
	httpGet: { path: string; port: string };
	timeoutSeconds: number;
}
interface Container {
	name: string;
	image: string;
	args?: string[];
	env: { name: string; value: string }[];
	envFrom: { configMapRef: { name: string } }[];
	ports?: { name: string; containerPort: number }[];
	startupProbe: Probe;
	livenessProbe: Probe;
	readinessProbe: Probe;
	resources: { requests: Record<string, string>; limits: Record<string, string> };
	securityContext: object;
	volumeMounts: { name: string; mountPath: string }[];
}
interface SecretSource {
	name: string;
	items: { key: string; path: string }[];
}
interface Volume {
	name: string;
	secret?: { secretName: string };
	projected?: { sources: { secret: SecretSource }[] };
	persistentVolumeClaim?: { claimName: string };
}
interface Pod {
	automountServiceAccountToken: boolean;
	enableServiceLinks: boolean;
	terminationGracePeriodSeconds?: number;
	securityContext: object;
	containers: Container[];
	volumes: Volume[];
}
interface PodTemplate {
	metadata: { labels: Record<string, string> };
	spec: Pod;
}

/** The one object of a kind. */
function only(manifests: Manifest[], kind: string): Manifest {
	const [found, ...more] = manifests.filter((manifest) => manifest.kind === kind);
	if (!found || more.length > 0) throw new Error(`there is not exactly one ${kind}`);
	return found;
}
const spec = <Spec>(manifest: Manifest) => manifest.spec as Spec;

/** Every template of pods: the servers' and the migration's. */
const templates = (manifests: Manifest[]): PodTemplate[] =>
	manifests
		.filter(({ kind }) => kind === "Deployment" || kind === "Job")
		.map((manifest) => spec<{ template: PodTemplate }>(manifest).template);

const server = (manifests: Manifest[]): Pod =>
	spec<{ template: PodTemplate }>(only(manifests, "Deployment")).template.spec;

const settingsOf = (manifests: Manifest[]) => only(manifests, "ConfigMap").data as Record<string, string>;

/** The secrets that docs/operations.md tells to make, each with its keys. */
const documentedSecrets = new Map(
	[
		...readFileSync(join(root, "docs/operations.md"), "utf8")
			.replaceAll("\\\n", " ")
			.matchAll(/kubectl create secret generic ([\w-]+)(.*)/g),
	].map(([, name = "", rest = ""]) => [name, [...rest.matchAll(/--from-file=([\w-]+)=/g)].map(([, key]) => key)]),
);

/** The secret's key behind each path in a container. */
function secretFiles({ volumes }: Pod, container: Container): Map<string, { secret: string; key: string }> {
	const files = new Map<string, { secret: string; key: string }>();
	for (const { name, mountPath } of container.volumeMounts) {
		const volume = volumes.find((one) => one.name === name);
		const whole = volume?.secret?.secretName;
		for (const key of documentedSecrets.get(whole ?? "") ?? [])
			files.set(join(mountPath, key ?? ""), { secret: whole ?? "", key: key ?? "" });
		for (const { secret } of volume?.projected?.sources ?? [])
			for (const { key, path } of secret.items) files.set(join(mountPath, path), { secret: secret.name, key });
	}
	return files;
}

/** The schemas' check of values and of what is required; answers what is wrong. */
async function findWrongValues(manifest: Manifest): Promise<string> {
	const { apiVersion, kind } = manifest;
	const module = (await import(`kubernetes-models/${apiVersion}/${kind}`)) as Record<
		string,
		new (
			data: object,
		) => { validate(): void }
	>;
	const Model = module[kind];
	if (!Model) throw new Error(`kubernetes-models has no ${apiVersion} ${kind}`);
	try {
		new Model(manifest).validate();
		return "";
	} catch (error) {
		return `${kind} ${manifest.metadata.name}: ${(error as Error).message}`;
	}
}

/** The schemas let unknown members pass, and a cluster drops them without a word. The same package's types do not. */
function findUnknownMembers(t: Test, manifests: Manifest[]): string {
	const project = join(temporaryFolder(t), "manifests");
	mkdirSync(project);
	symlinkSync(join(root, "node_modules"), join(project, "node_modules"));
	writeFileSync(join(project, "package.json"), '{ "type": "module" }');
	const compilerOptions = { module: "nodenext", strict: true, noEmit: true, skipLibCheck: true, types: [] };
	writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
	for (const [index, { apiVersion, kind, ...rest }] of manifests.entries())
		writeFileSync(
			join(project, `${kind}-${index}.ts`),
			`import type { I${kind} } from "kubernetes-models/${apiVersion}/${kind}";\n` +
				`export default ${JSON.stringify({ apiVersion, kind, ...rest })} satisfies I${kind};\n`,
		);
	const args = [...withoutTap, process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", project];
	const { status, stdout } = spawnSync("env", args, { encoding: "utf8" });
	return status === 0 ? "" : stdout;
}

t.test("K06: every object fits the Kubernetes schemas, with no member that they do not know", async (t) => {
	for (const [variant, manifests] of everyVariant) {
		for (const manifest of manifests)
			t.equal(await findWrongValues(manifest), "", `${variant}: ${manifest.kind} ${manifest.metadata.name}`);
		t.equal(findUnknownMembers(t, manifests), "", variant);
	}
	const [deployment] = structuredClone(variants.base).filter(({ kind }) => kind === "Deployment") as [Manifest];
	const { securityContext } = server([deployment]).containers[0] as { securityContext: Record<string, unknown> };
	securityContext.readOnlyRootFileSystem = true;
	t.match(findUnknownMembers(t, [deployment]), /readOnlyRootFileSystem/, "a mistyped member would be found");
	(deployment.spec as Record<string, unknown>).replicas = "3";
	t.match(await findWrongValues(deployment), /replicas must be integer/, "a wrong value would be found");
});

/** As Debian's tools and the clouds' bring it; nothing that the project needs to install. */
const withKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0 ? {} : { skip: "needs kubectl" };

t.test("kustomize composes what these tests look at", withKubectl, async (t) => {
	const sorted = (manifests: Manifest[]) =>
		manifests.toSorted((one, other) => (one.kind + one.metadata.name).localeCompare(other.kind + other.metadata.name));
	for (const [variant, manifests] of everyVariant) {
		const { stdout, stderr } = spawnSync("kubectl", ["kustomize", join(folder, variant)], { encoding: "utf8" });
		t.equal(stderr, "", `${variant}: no complaint`);
		const withoutHash = stdout.replaceAll(/(?<=gatehouse-settings)-[a-z0-9]{10}\b/g, "");
		t.same(sorted(manifests), sorted(readManifests(withoutHash)), variant);
	}
});

t.test(
	"K06: every pod runs without root, without anything to write to but its volumes, and without a token",
	async (t) => {
		for (const [variant, manifests] of everyVariant) {
			const all = templates(manifests);
			t.equal(all.length, variant === "base" ? 2 : 1, variant);
			for (const { metadata, spec: pod } of all) {
				const what = `${variant}: ${metadata.labels["app.kubernetes.io/component"]}`;
				t.equal(pod.automountServiceAccountToken, false, what);
				t.equal(pod.enableServiceLinks, false, what);
				t.match(pod.securityContext, {
					runAsNonRoot: true,
					runAsUser: 1000,
					runAsGroup: 1000,
					seccompProfile: { type: "RuntimeDefault" },
				});
				t.notMatch(JSON.stringify(pod), /host(Network|PID|IPC|Path|Port)|"privileged"|initContainers/, what);
				for (const container of pod.containers) {
					t.same(container.securityContext, {
						allowPrivilegeEscalation: false,
						readOnlyRootFilesystem: true,
						capabilities: { drop: ["ALL"] },
					});
					t.ok(container.resources.requests.cpu && container.resources.requests.memory, `${what}: what it asks for`);
					t.ok(container.resources.limits.memory, `${what}: a limit of memory`);
					t.equal(container.resources.limits.cpu, undefined, `${what}: no quota of CPU, which would stop verification`);
				}
			}
		}
		const user = /^USER (\d+):(\d+)$/m.exec(readFileSync(join(root, "Dockerfile"), "utf8"));
		t.same(user?.slice(1), ["1000", "1000"], "the user is the image's");
	},
);

t.test("K08: every variable is a setting, and the settings as a whole are accepted in production", async (t) => {
	const secrets = temporaryFolder(t);
	const contents: Record<string, string> = {
		secret: testSecret,
		"database-url": "postgres://gatehouse:word@database.example.com/gatehouse?sslmode=verify-full",
	};
	const names = Object.values(settings).flatMap(({ name }) => [name, `${name}_FILE`]);
	for (const [variant, manifests] of everyVariant) {
		for (const { metadata, spec: pod } of templates(manifests)) {
			const what = `${variant}: ${metadata.labels["app.kubernetes.io/component"]}`;
			for (const container of pod.containers) {
				for (const { configMapRef } of container.envFrom)
					t.equal(configMapRef.name, only(manifests, "ConfigMap").metadata.name, `${what}: the settings are there`);
				const environment: Record<string, string> = { NODE_ENV: "production", ...settingsOf(manifests) };
				const files = secretFiles(pod, container);
				for (const { name, value } of container.env) {
					environment[name] = value;
					if (!name.endsWith("_FILE")) continue;
					const file = files.get(value);
					if (!t.ok(file, `${what}: ${value} is in a secret that is mounted there`)) continue;
					t.ok(documentedSecrets.get(file?.secret ?? "")?.includes(file?.key ?? ""), `${what}: its key is documented`);
					environment[name] = join(secrets, file?.key ?? "");
					writeFileSync(environment[name], contents[file?.key ?? ""] ?? "");
				}
				for (const name of Object.keys(environment)) t.ok(names.includes(name), `${what}: ${name} is a setting`);
				// No default: whom the gateway's addresses belong to, only who runs it knows.
				t.throws(() => loadConfig(environment), /TRUST_PROXY/, `${what}: does not start before it is set`);
				const { config } = loadConfig({ ...environment, TRUST_PROXY: "192.0.2.0/28" });
				t.equal(config.secret, testSecret, `${what}: the secret comes from its file`);
				t.equal(config.databaseUrl !== undefined, variant === "base", `${what}: where the store is`);
				const cpus = Number(container.resources.requests.cpu);
				if (container.name === "gatehouse")
					t.equal(config.hashThreads, cpus, `${what}: as many threads as CPUs asked for`);
			}
		}
	}
});

t.test("the probes ask for routes that there are, on the port on which they are", async (t) => {
	const { get, services } = await testApp(t);
	for (const [variant, manifests] of everyVariant) {
		const pod = server(manifests);
		const [container] = pod.containers as [Container];
		const port = (name: string) => container.ports?.find((one) => one.name === name)?.containerPort;
		t.equal(port("http"), settings.port.fallback, `${variant}: PORT`);
		const { startupProbe, livenessProbe, readinessProbe } = container;
		const environment = new Map(container.env.map(({ name, value }) => [name, value]));
		t.equal(String(port("management")), environment.get("MANAGEMENT_PORT"), `${variant}: MANAGEMENT_PORT`);
		t.equal(environment.get("MANAGEMENT_HOST"), "0.0.0.0", `${variant}: the kubelet comes from outside of the pod`);
		for (const { httpGet } of [startupProbe, livenessProbe])
			t.equal(httpGet.port, "management", `${variant}: a flood of connections to the public port restarts nobody`);
		t.equal(readinessProbe.httpGet.port, "http", `${variant}: the port that the traffic uses`);
		for (const { httpGet, timeoutSeconds } of [startupProbe, livenessProbe, readinessProbe]) {
			t.ok(findProbe(httpGet.path, services.readiness), `${variant}: ${httpGet.path} is on the management port`);
			t.equal((await get(httpGet.path)).statusCode, 200, `${variant}: ${httpGet.path}`);
			t.ok(timeoutSeconds >= 2, `${variant}: a busy machine is no reason to end it`);
		}
		t.equal(livenessProbe.httpGet.path, "/livez", "an outage of the store must not restart the replicas");
		const drainSeconds = Number(settingsOf(manifests).DRAIN_SECONDS);
		t.ok((pod.terminationGracePeriodSeconds ?? 0) >= drainSeconds + 15, `${variant}: time to drain and to end`);
	}
});

t.test("every reference from one object to another leads somewhere", async (t) => {
	const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
	for (const [variant, manifests] of everyVariant) {
		const all = templates(manifests);
		for (const { spec: pod } of all) {
			for (const { image, volumeMounts } of pod.containers) {
				t.equal(image, `gatehouse:${version}`, `${variant}: the image is this version's`);
				for (const { name } of volumeMounts)
					t.ok(
						pod.volumes.some((volume) => volume.name === name),
						`${variant}: the volume ${name}`,
					);
			}
			for (const { persistentVolumeClaim: claim } of pod.volumes)
				if (claim) t.equal(claim.claimName, only(manifests, "PersistentVolumeClaim").metadata.name, variant);
		}
		const deployment = only(manifests, "Deployment");
		const labels = all[0]?.metadata.labels;
		t.same(labels, isServer);
		t.same(spec<{ selector: object }>(deployment).selector, { matchLabels: isServer });
		t.same(spec<{ selector: object }>(only(manifests, "Service")).selector, isServer, "the Service finds no Job");
		const ports = (all[0] as PodTemplate).spec.containers[0]?.ports?.map(({ name }) => name);
		const text = JSON.stringify(manifests.filter(({ kind }) => kind === "Service" || kind === "NetworkPolicy"));
		for (const [, port] of text.matchAll(/"(?:targetPort|port)":"([^"]+)"/g))
			t.ok(ports?.includes(port ?? ""), `${variant}: the port ${port}`);
	}
});

t.test("PostgreSQL has three replicas or more that are moved one by one, SQLite has exactly one", async (t) => {
	const { base, sqlite } = variants;
	t.match(only(base, "HorizontalPodAutoscaler").spec, {
		minReplicas: 3,
		scaleTargetRef: { kind: "Deployment", name: only(base, "Deployment").metadata.name },
	});
	t.match(only(base, "PodDisruptionBudget").spec, { maxUnavailable: 1, selector: { matchLabels: isServer } });
	const deployment = spec<{ minReadySeconds: number }>(only(base, "Deployment"));
	t.match(deployment, { strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } });
	const patience = server(base).terminationGracePeriodSeconds ?? Number.NaN;
	t.ok(deployment.minReadySeconds >= patience, "the pod before has ended, and given its connections back");
	const { maxReplicas } = spec<{ maxReplicas: number }>(only(base, "HorizontalPodAutoscaler"));
	const connectionsOfOne = 11;
	const forPeople = 5;
	// One starts and one ends during an update, and the Job migrates.
	t.ok((maxReplicas + 2) * connectionsOfOne + 1 + forPeople <= 100, "PostgreSQL's usual connections are enough");
	t.notOk(Object.hasOwn(spec<object>(only(base, "Deployment")), "replicas"), "the autoscaler says how many");
	t.same(templates(base)[1]?.spec.containers[0]?.args, ["migrate"]);
	const usage = readFileSync(join(root, "src/cli/cli.ts"), "utf8");
	t.match(usage, /^ {2}migrate /m, "migrate is a command");

	t.same(sqlite.map(({ kind }) => kind).sort(), [
		"ConfigMap",
		"Deployment",
		"NetworkPolicy",
		"PersistentVolumeClaim",
		"Service",
	]);
	const one = spec<{ replicas: number; strategy: object }>(only(sqlite, "Deployment"));
	t.equal(one.replicas, 1);
	t.same(one.strategy, { type: "Recreate" });
	t.match(server(sqlite).containers[0]?.volumeMounts, [{ mountPath: "/data" }], "the image's DATA_DIR");
	t.match(readFileSync(join(root, "Dockerfile"), "utf8"), /^ENV .*\bDATA_DIR=\/data\b/m);
});

t.test("only the gateway and the monitoring come in, and only to DNS and the database anything goes out", async (t) => {
	interface Rule {
		ports: { port: unknown }[];
		from?: unknown[];
		to?: unknown[];
	}
	const allowed = (variant: Variant) => {
		const policy = spec<{ podSelector: object; policyTypes: string[]; ingress: Rule[]; egress: Rule[] }>(
			only(variants[variant], "NetworkPolicy"),
		);
		t.same(policy.policyTypes, ["Ingress", "Egress"]);
		t.same(policy.podSelector, { matchLabels: { "app.kubernetes.io/name": "gatehouse" } }, "the Job's pod as well");
		for (const { from, to } of [...policy.ingress, ...policy.egress]) t.equal((from ?? to)?.length, 1);
		return [policy.ingress, policy.egress].map((rules) => rules.map(({ ports }) => ports.map(({ port }) => port)));
	};
	t.same(allowed("base"), [
		[["http"], ["management"]],
		[[53, 53], [5432]],
	]);
	t.same(allowed("sqlite"), [[["http"], ["management"]], [[53, 53]]]);
});
