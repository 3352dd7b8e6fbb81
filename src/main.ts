#!/usr/bin/env node
/** The process: the server by default, or one command. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings. */
import { ConfigError, loadConfig } from "./config.ts";

const [command = "serve", ...rest] = process.argv.slice(2);
try {
	if (command === "serve" && rest.length === 0) {
		const { config } = loadConfig(process.env);
		const { serve } = await import("./serve.ts");
		await serve(config, process.stdout.isTTY === true);
	} else {
		const { runCommand } = await import("./cli.ts");
		process.exitCode = await runCommand([command, ...rest]);
	}
} catch (error) {
	if (!(error instanceof Error)) throw error;
	const operational = error instanceof ConfigError || "code" in error;
	process.stderr.write(`${operational || !error.stack ? error.message : error.stack}\n`);
	process.exit(error instanceof ConfigError ? 2 : 1);
}
