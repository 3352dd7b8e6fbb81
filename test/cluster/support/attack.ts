/**
 * Clients that mean no good, in a process of their own: `node attack.ts URL COUNT` keeps so many connections open, each of
 * which posts a large body as soon as the one before is answered. What they heard is printed at SIGTERM.
 */
import { connect } from "node:net";

const [, , url = "", count = "0"] = process.argv;
const { hostname, port } = new URL(url);
const body = JSON.stringify({ username: "root", password: "x".repeat(14_000) });
const request = [
	"POST /login HTTP/1.1",
	"Host: localhost",
	"Content-Type: application/json",
	`Content-Length: ${body.length}`,
	"",
	body,
].join("\r\n");
const heard: Record<string, number> = {};

function attack(): void {
	const socket = connect(Number(port), hostname);
	socket.on("connect", () => socket.write(request)).on("error", () => {});
	socket.on("data", (data) => {
		for (const [, status = ""] of data.toString("latin1").matchAll(/HTTP\/1\.1 (\d+)/g)) {
			heard[status] = (heard[status] ?? 0) + 1;
			socket.write(request);
		}
	});
	socket.on("close", () => setTimeout(attack, 500));
}

for (let index = 0; index < Number(count); index++) attack();
process.on("SIGTERM", () => {
	console.log(JSON.stringify(heard));
	process.exit();
});
