#!/usr/bin/env node
/** The process: the server by default, or one command. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings. */
import { ConfigError, loadConfig } from "./config/config.ts";

const [command = "serve", ...rest] = process.argv.slice(2);
try {
	if (command === "serve" && rest.length === 0) {
		const { config } = loadConfig(process.env);
		const { serve } = await import("./serve.ts");
		await serve(config, process.stdout.isTTY === true);
	} else {
		const { runCommand } = await import("./cli/cli.ts");
		process.exitCode = await runCommand([command, ...rest]);
	}
} catch (error) {
	if (!(error instanceof Error)) throw error;
	// Errors with a code are about the machine or the settings, and say so in words; others are faults of ours.
	process.stderr.write(`${"code" in error ? error.message : (error.stack ?? error.message)}\n`);
	process.exit(error instanceof ConfigError ? 2 : 1);
}
