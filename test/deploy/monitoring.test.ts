/** The alert rules and the dashboard: well formed, and every series they ask for is one that the service really exports. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import t, { type Test } from "tap";
import { parse } from "yaml";
import { publishedSeconds } from "../../src/keys/life.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { table } from "../../src/metrics/table.ts";
import { testApp } from "../support/app.ts";

const root = resolve(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

interface Rule {
	alert: string;
	expr: string;
	for?: string;
	labels: { severity: string };
	annotations: { summary: string; page: string };
}
const { groups } = parse(read("deploy/prometheus/alerts.yaml")) as { groups: { name: string; rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

interface Panel {
	id: number;
	title: string;
	type: string;
	gridPos: { h: number; w: number; x: number; y: number };
	targets?: { expr: string; refId: string }[];
}
const dashboard = JSON.parse(read("deploy/grafana/gatehouse.json")) as { uid: string; panels: Panel[] };

/** What Prometheus itself puts on every target. */
const ofPrometheus = ["up"];
const labelsOfPrometheus = ["instance", "job"];

/** A series as an expression asks for it. */
interface Selector {
	name: string;
	matchers: { label: string; operator: string; value: string }[];
}

/** The series of an expression; what is no PromQL, as Prometheus' own grammar has it, is a fault. */
function selectorsOf(expression: string): { selectors: Selector[]; faults: string[]; labels: string[] } {
	// Grafana puts these in.
	const text = expression.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*");
	const found: ReturnType<typeof selectorsOf> = { selectors: [], faults: [], labels: [] };
	parser.parse(text).iterate({
		enter({ node, type, from, to }) {
			const part = text.slice(from, to);
			if (type.isError) found.faults.push(`${text} at ${from}`);
			if (type.name === "VectorSelector") found.selectors.push({ name: "", matchers: [] });
			const last = found.selectors.at(-1);
			if (type.name === "Identifier" && last) last.name = part;
			if (type.name === "UnquotedLabelMatcher") {
				const [, label = "", operator = "", value = ""] = /^(\w+)\s*([=!~]+)\s*"(.*)"$/.exec(part) ?? [];
				last?.matchers.push({ label, operator, value });
			}
			if (type.name === "LabelName" && node.parent?.type.name === "GroupingLabels") found.labels.push(part);
		},
	});
	return found;
}

/** Every series that the service exports: for each name, the values of each label. */
async function exported(t: Test): Promise<Map<string, Map<string, Set<string>>>> {
	const { services } = await testApp(t);
	const metrics = createMetrics();
	metrics.follow(services);
	const series = new Map<string, Map<string, Set<string>>>();
	for (const line of (await metrics.text()).split("\n")) {
		// A metric without a value now, such as of notifications where the store is SQLite, is one all the same.
		const [, name = "", labels = ""] = /^(?:# TYPE )?(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
		const known = series.get(name) ?? new Map<string, Set<string>>();
		series.set(name, known);
		for (const [, label = "", value = ""] of labels.matchAll(/(\w+)="([^"]*)"/g))
			known.set(label, (known.get(label) ?? new Set()).add(value));
	}
	return series;
}

const expressions = [
	...rules.map(({ alert, expr }) => ({ of: alert, expression: expr })),
	...dashboard.panels.flatMap(({ title, targets = [] }) =>
		targets.map(({ expr }) => ({ of: title, expression: expr })),
	),
];

t.test("every expression is PromQL over series, labels and values that the service exports", async (t) => {
	const series = await exported(t);
	t.ok(expressions.length > 40, "there are many");
	for (const { of, expression } of expressions) {
		const { selectors, faults, labels } = selectorsOf(expression);
		t.same(faults, [], `${of} is PromQL`);
		t.ok(selectors.length > 0, `${of} asks for something`);
		const known = new Set([...labelsOfPrometheus, "le"]);
		for (const { name, matchers } of selectors) {
			const values = series.get(name);
			if (!t.ok(values || ofPrometheus.includes(name), `${of}: ${name}`)) continue;
			for (const label of values?.keys() ?? []) known.add(label);
			for (const { label, operator, value } of matchers) {
				if (labelsOfPrometheus.includes(label)) continue;
				const wanted = operator.includes("~") ? value.split("|") : [value];
				for (const one of wanted) t.ok(values?.get(label)?.has(one), `${of}: ${name}{${label}="${one}"}`);
			}
		}
		for (const label of labels) t.ok(known.has(label), `${of}: by ${label}`);
	}
});

t.test("what is not exported, or is no PromQL, is found out", async (t) => {
	const series = await exported(t);
	const [selector] = selectorsOf('sum by (outcome) (rate(gatehouse_logins_total{outcome="no"}[5m])) > 1').selectors;
	t.match(selector, { name: "gatehouse_logins_total", matchers: [{ label: "outcome", operator: "=", value: "no" }] });
	t.notOk(series.get("gatehouse_logins_total")?.get("outcome")?.has("no"));
	t.notOk(series.has("gatehouse_login_total"));
	t.not(selectorsOf("sum by (outcome (gatehouse_logins_total)").faults.length, 0);
	t.not(selectorsOf("rate(gatehouse_logins_total[5m]) >").faults.length, 0);
});

t.test(
	"each alert has a name of its own, says how bad it is, and leads to a part of the page that is there",
	async (t) => {
		t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
		for (const { alert, labels, annotations, for: duration } of rules) {
			t.match(alert, /^Gatehouse[A-Z][A-Za-z]+$/);
			t.match(labels.severity, /^(critical|warning)$/, alert);
			t.match(duration ?? "1m", /^\d+[smh]$/, alert);
			t.ok(annotations.summary.length > 10, `${alert} says what is the matter`);
			const [page = "", anchor] = annotations.page.split("#");
			if (!t.ok(existsSync(join(root, page)), `${alert}: ${page}`)) continue;
			const anchors = [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
				title
					.toLowerCase()
					.replace(/[^\w\s-]/g, "")
					.replace(/\s/g, "-"),
			);
			t.ok(anchors.includes(anchor ?? ""), `${alert}: ${annotations.page}`);
		}
		for (const [, alert = ""] of read("docs/operations.md").matchAll(/`(Gatehouse[A-Z]\w+)`/g))
			t.ok(
				rules.some((rule) => rule.alert === alert),
				`docs/operations.md: ${alert}`,
			);
		const alarmed = rules.map(({ expr }) => expr).join("\n");
		const needed = [
			"store_up",
			"ready",
			"keys",
			"published_key_waits",
			"signing_key_age_seconds",
			"token_verifications_total",
			"refreshes_total",
			"memory_used_ratio",
			"logins_total",
			"login_limits_total",
			"shed_total",
		];
		for (const name of [...needed, "change_lag_seconds", "security_events_dropped_total", "log_lines_dropped_total"])
			t.match(alarmed, `gatehouse_${name}`, `somebody is called because of ${name}`);
	},
);

t.test("the age of a signing key calls nobody during a rotation that goes as it should", async (t) => {
	const { expr = "", for: duration = "" } = rules.find(({ alert }) => alert === "GatehouseKeyRotationOverdue") ?? {};
	const [, margin] = / gatehouse_key_rotation_seconds \+ (\d+)$/.exec(expr) ?? [];
	t.ok(Number(margin) > 2 * publishedSeconds, `${margin} s`);
	t.ok(Number.parseInt(duration, 10) * 60 > 2 * publishedSeconds, `${duration}, where it is too old from the start`);
});

t.test("the dashboard shows every metric of ours, in panels that do not lie on each other", async (t) => {
	const shown = expressions.map(({ expression }) => expression).join("\n");
	for (const { name } of table) t.match(shown, name, name);
	const { panels } = dashboard;
	t.equal(new Set(panels.map(({ id }) => id)).size, panels.length, "ids");
	for (const [index, { title, gridPos: a, type, targets }] of panels.entries()) {
		t.equal(type === "row", targets === undefined, title);
		t.ok(a.x + a.w <= 24, `${title} is inside`);
		for (const { title: other, gridPos: b } of panels.slice(index + 1))
			t.notOk(
				a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
				`${title} does not lie on ${other}`,
			);
	}
});
