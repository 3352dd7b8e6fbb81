/** A thread that does nothing but compare one password, for some seconds, and answers its comparisons a second. */
import { parentPort, workerData } from "node:worker_threads";
import { verifySync } from "@node-rs/bcrypt";

const { stored, password, seconds } = workerData as { stored: string; password: string; seconds: number };
const start = performance.now();
let count = 0;
while (performance.now() - start < seconds * 1000) {
	verifySync(password, stored);
	count++;
}
parentPort?.postMessage(count / ((performance.now() - start) / 1000));
