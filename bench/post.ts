/**
 * Posts each token of a file to a URL once, over 32 keep-alive connections: bare sockets, so that the load generator
 * costs less than any server. Arguments: the URL and the file.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { concurrency } from "./processes.ts";

const [url = "", file = ""] = process.argv.slice(2);
const tokens = readFileSync(file, "utf8").split("\n");
const { hostname, port, pathname } = new URL(url);
let sent = 0;

/** One connection: the next request goes out when the last one was answered. */
function post(): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const socket = connect(Number(port), hostname).setNoDelay().setEncoding("latin1").on("error", reject);
	socket.on("close", () => reject(new Error("The server closed the connection")));
	let received = "";
	const next = () => {
		const token = tokens[sent++];
		if (token === undefined) {
			resolve();
			return void socket.destroy();
		}
		const body = `refresh_token=${token}`;
		const headers = `Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}`;
		socket.write(`POST ${pathname} HTTP/1.1\r\n${headers}\r\n\r\n${body}`);
	};
	socket.on("connect", next).on("data", (chunk: string) => {
		received += chunk;
		const end = received.indexOf("\r\n\r\n");
		if (end === -1) return;
		const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
		if (received.length < end + 4 + length) return;
		if (!received.startsWith("HTTP/1.1 200 ")) return reject(new Error(received));
		received = "";
		next();
	});
	return promise;
}

await Promise.all(Array.from({ length: concurrency }, post));
