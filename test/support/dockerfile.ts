/**
 * Carries out the Dockerfile where no Docker engine is at hand. Each stage is a folder; `unshare` makes it a root of its own,
 * with this machine's system mounted read-only in the place of the base image, and the project's Node in /usr/local/bin.
 * The instructions are read from the Dockerfile, so that the two cannot drift apart; one that is not known here stops the run.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, posix, resolve } from "node:path";

const project = resolve(import.meta.dirname, "../..");

/** A folder that stands for an image, and what the instructions said about running it. */
export interface Stage {
	root: string;
	folder: string;
	environment: Record<string, string>;
	user: string;
	volumes: string[];
	entrypoint: string[];
	command: string[];
	healthcheck: string[];
}

/** Announces an instruction. */
const step = (text: string): void => console.log(`--- ${text}`);

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

const openStage = (work: string, name: string): Stage => {
	const root = join(work, name);
	for (const folder of ["usr", "etc", "proc", "dev", "tmp", "root", "usr-local-bin"]) {
		mkdirSync(join(root, folder), { recursive: true });
	}
	for (const folder of ["bin", "sbin", "lib", "lib64"]) {
		if (existsSync(`/${folder}`)) symlinkSync(`usr/${folder}`, join(root, folder));
	}
	cpSync(join(project, "node_modules/node/bin/node"), join(root, "usr-local-bin/node"), { dereference: true });
	// `npm run` names the npm that runs it; the build uses the same.
	symlinkSync(process.env.npm_execpath ?? "/usr/bin/npm", join(root, "usr-local-bin/npm"));
	const environment = {
		PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		HOME: "/root",
	};
	return {
		root,
		folder: "/",
		environment,
		user: "0:0",
		volumes: [],
		entrypoint: [],
		command: [],
		healthcheck: [],
	};
};

/**
 * The arguments of `unshare` that run a command in a stage; the mounts end with it. While building, the stage is writable and
 * its user may be root. Sealed, only the volumes are writable and no capability is left, as in a hardened container.
 */
export const enter = (
	stage: Stage,
	words: string[],
	{ sealed, environment = {} }: { sealed: boolean; environment?: Record<string, string> },
): string[] => {
	const at = (path: string) => quote(join(stage.root, path));
	const variables = Object.entries({
		...stage.environment,
		...environment,
	}).map(([name, value]) => `${name}=${value}`);
	const [uid = "0", gid = "0"] = stage.user.split(":");
	const become = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
	if (sealed) become.push("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all");
	const seal = [
		`mount -o remount,bind,ro ${at("usr/local/bin")}`,
		...stage.volumes.map((path) => `mount --bind ${at(path)} ${at(path)}`),
		`mount -o remount,bind,ro ${at("")}`,
	];
	const run = ["cd", stage.folder, "&&", "exec", ...words.map(quote)].join(" ");
	const script = [
		"set -e",
		`mount --bind ${at("")} ${at("")}`,
		...["usr", "etc"].map((name) => `mount --bind /${name} ${at(name)}; mount -o remount,bind,ro ${at(name)}`),
		`mount --bind ${at("usr-local-bin")} ${at("usr/local/bin")}`,
		...["proc", "dev"].map((name) => `mount --rbind /${name} ${at(name)}`),
		...(sealed ? seal : [`mount --bind ${quote(homedir())} ${at("root")}`]),
		`exec chroot ${[stage.root, "env", "-i", ...variables, ...become, "sh", "-c", run].map(quote).join(" ")}`,
	];
	return ["--mount", "--propagation=private", "sh", "-c", script.join("\n")];
};

/** Runs a build command as Docker's RUN would, with this machine's way to the packages: its npm settings and its proxy. */
const runInStage = (stage: Stage, command: string): void => {
	const network = Object.entries(process.env).filter(([name]) =>
		/^(npm_config_(registry|cafile)|(https?|no)_proxy)$/i.test(name),
	);
	const environment = Object.fromEntries(network.map(([name, value]) => [name, value ?? ""]));
	const { status } = spawnSync("unshare", enter(stage, ["sh", "-c", command], { sealed: false, environment }), {
		stdio: "inherit",
	});
	if (status !== 0) throw new Error(`RUN ended with ${status}: ${command}`);
};

const ignored = readFileSync(join(project, ".dockerignore"), "utf8").split("\n");

const copy = (stages: Map<string, Stage>, stage: Stage, words: string[]): void => {
	const from = words[0]?.startsWith("--from=") ? words.shift()?.slice("--from=".length) : undefined;
	const target = words.pop() ?? ".";
	for (const source of words) {
		if (from === undefined && !ignored.includes(`!${source}`)) throw new Error(`.dockerignore hides ${source}`);
		const path = from === undefined ? join(project, source) : join(stages.get(from)?.root ?? "", source);
		// A folder's content goes to the target, a file goes into a target that ends in a slash.
		const name = /(^|\/)$|^\.$/.test(target) ? join(target, basename(source)) : target;
		cpSync(path, join(stage.root, posix.resolve(stage.folder, name)), {
			recursive: true,
			verbatimSymlinks: true,
		});
	}
};

/** Docker's exec form, a JSON list: the shell form would put a shell between node and its signals. */
const execForm = (text: string): string[] => {
	const words: unknown = JSON.parse(text);
	if (!Array.isArray(words) || !words.every((word) => typeof word === "string"))
		throw new Error(`Not exec form: ${text}`);
	return words;
};

const perform = (stages: Map<string, Stage>, stage: Stage, instruction: string, rest: string): void => {
	const words = rest.split(/\s+/);
	if (instruction === "WORKDIR") {
		stage.folder = rest;
		mkdirSync(join(stage.root, rest), { recursive: true });
	} else if (instruction === "ENV") {
		Object.assign(stage.environment, Object.fromEntries(words.map((word) => word.split("=", 2))));
	} else if (instruction === "COPY") copy(stages, stage, words);
	else if (instruction === "RUN") runInStage(stage, rest);
	else if (instruction === "USER") stage.user = rest;
	else if (instruction === "VOLUME") stage.volumes.push(...words);
	else if (instruction === "HEALTHCHECK") stage.healthcheck = execForm(rest.slice(rest.indexOf("CMD ") + 4));
	else if (instruction === "ENTRYPOINT") stage.entrypoint = execForm(rest);
	else if (instruction === "CMD") stage.command = execForm(rest);
	else if (instruction !== "EXPOSE") throw new Error(`The Dockerfile uses ${instruction}, which is not known here`);
};

/** Carries the Dockerfile out below a folder and gives its last stage. */
export const build = (work: string): Stage => {
	const text = readFileSync(join(project, "Dockerfile"), "utf8")
		.replaceAll(/^#.*\n/gm, "")
		.replaceAll("\\\n", " ");
	const stages = new Map<string, Stage>();
	let stage: Stage | undefined;
	for (const line of text.split("\n").filter((line) => line.trim() !== "")) {
		step(line);
		const [, instruction = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
		if (instruction === "FROM") {
			const [, name = "final"] = /^node:\S+(?:\s+AS\s+(\S+))?$/.exec(rest) ?? [];
			stage = openStage(work, name);
			stages.set(name, stage);
		} else if (stage) perform(stages, stage, instruction, rest);
	}
	if (stage === undefined) throw new Error("The Dockerfile has no stage");
	return stage;
};
