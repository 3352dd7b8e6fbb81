/** Names of settings that are nearly right: row K02. */
import t from "tap";
import { accepted, problems } from "../../support/settings.ts";

t.test("K02: a mistyped setting is refused, and the report says what was probably meant", async (t) => {
	const cases: [string, string][] = [
		["TRSUT_PROXY", "TRUST_PROXY"],
		["TRUST_PROXI", "TRUST_PROXY"],
		["TRUSTPROXY", "TRUST_PROXY"],
		["ISUER", "ISSUER"],
		["PROT", "PORT"],
		["POTR", "PORT"],
		["HSOT", "HOST"],
		["port", "PORT"],
		["SECERT", "SECRET"],
		["SECRETS", "SECRET"],
		["SECRET_FIEL", "SECRET_FILE"],
		["DATABASE_URI", "DATABASE_URL"],
		["HASHCOST", "HASH_COST"],
		["DRAIN_SECOND", "DRAIN_SECONDS"],
		["ACCESS_TOKEN_SECOND", "ACCESS_TOKEN_SECONDS"],
		["BOOTSTRAP_PASWORD", "BOOTSTRAP_PASSWORD"],
		["BOOTSTRAP_PASSWORD_FLIE", "BOOTSTRAP_PASSWORD_FILE"],
	];
	for (const [typed, meant] of cases) {
		const found = problems({ [typed]: "hidden-word" });
		t.same(found, [`${typed} is not a setting; did you mean ${meant}?`]);
	}
});

t.test(
	"K02: settings have no GATEHOUSE_ prefix; what Kubernetes sets for a service of that name is left alone",
	async (t) => {
		t.same(problems({ GATEHOUSE_SECRET: "hidden-word" }), [
			"GATEHOUSE_SECRET is not a setting; write SECRET without the prefix",
		]);
		t.match(problems({ GATEHOUSE_PORT: "8080" }), [/write PORT without the prefix/]);
		t.match(problems({ GATEHOUSE_COLOUR: "red" }), [
			/^GATEHOUSE_COLOUR is not a setting; settings have no GATEHOUSE_ prefix$/,
		]);
		accepted(t, {
			GATEHOUSE_SERVICE_HOST: "10.0.0.7",
			GATEHOUSE_SERVICE_PORT: "3000",
			GATEHOUSE_SERVICE_PORT_HTTP: "3000",
			GATEHOUSE_PORT: "tcp://10.0.0.7:3000",
			GATEHOUSE_PORT_3000_TCP: "tcp://10.0.0.7:3000",
			GATEHOUSE_PORT_3000_TCP_PROTO: "tcp",
			GATEHOUSE_PORT_3000_TCP_PORT: "3000",
			GATEHOUSE_PORT_3000_TCP_ADDR: "10.0.0.7",
		});
	},
);

t.test("K02: variables that every machine has are none of our business", async (t) => {
	const usual =
		"HOME OS DNS TEST PATH POD PWD USER SHELL LANG TERM HOSTNAME HOSTTYPE LOGNAME MAIL TZ TMPDIR OLDPWD SHLVL _ EDITOR " +
		"DISPLAY CI NODE NODE_OPTIONS NODE_PATH NODE_VERSION YARN_VERSION INIT_CWD COLOR npm_command npm_config_cache PS1 " +
		"KUBERNETES_SERVICE_HOST KUBERNETES_PORT POSTGRES_PASSWORD PGHOST PGPORT PGPASSWORD HTTP_PROXY NO_PROXY SSH_TTY " +
		// What an operator of OpenTelemetry sets for every program.
		"OTEL_SDK_DISABLED OTEL_RESOURCE_ATTRIBUTES OTEL_LOG_LEVEL OTEL_PROPAGATORS OTEL_TRACES_SAMPLER OTEL_TRACES_EXPORTER " +
		"OTEL_METRICS_EXPORTER OTEL_LOGS_EXPORTER OTEL_BSP_SCHEDULE_DELAY OTEL_BSP_MAX_QUEUE_SIZE OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT " +
		"OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_TIMEOUT OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_INSECURE " +
		"OTEL_EXPORTER_OTLP_CERTIFICATE OTEL_EXPORTER_OTLP_COMPRESSION OTEL_EXPORTER_OTLP_TRACES_ENDPOINT " +
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_LOGS_ENDPOINT OTEL_SEMCONV_STABILITY_OPT_IN OTEL_NODE_RESOURCE_DETECTORS";
	for (const name of usual.split(" ")) t.same(problems({ [name]: "x" }), [], name);
});
