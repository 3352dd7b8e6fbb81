/** What a request may look like before it is routed on: one reading of its host, its credentials and its body, or none. */
import type { IncomingMessage } from "node:http";
import { errors } from "./errors.ts";

/**
 * @throws MALFORMED_REQUEST where a proxy in front may have read another host, other credentials or another end of the body
 * @throws UNSUPPORTED_MEDIA_TYPE for a body on GET or HEAD
 */
export function assertOneReading(request: IncomingMessage): void {
	// An absolute target could name another host than the Host header does (RFC 9112 section 3.2.2).
	if (!request.url?.startsWith("/")) throw new errors.MALFORMED_REQUEST();
	const { headers, rawHeaders } = request;
	// Node keeps the first of two; a proxy in front may have looked at the second.
	let hosts = 0;
	let authorizations = 0;
	for (let index = 0; index < rawHeaders.length; index += 2) {
		const name = rawHeaders[index] as string;
		if (name.length === 4 && name.toLowerCase() === "host") hosts++;
		else if (name.length === 13 && name.toLowerCase() === "authorization") authorizations++;
	}
	if (hosts > 1 || authorizations > 1) throw new errors.MALFORMED_REQUEST();
	if (hosts === 0 && request.httpVersion === "1.1") throw new errors.MALFORMED_REQUEST();
	if (hasUnclearEnd(request)) throw new errors.MALFORMED_REQUEST();
	// On GET and HEAD a body means nothing, and Fastify would not read it (RFC 9110 section 9.3.1).
	if (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0)
		if (request.method === "GET" || request.method === "HEAD") throw new errors.UNSUPPORTED_MEDIA_TYPE();
}

/**
 * Whether a proxy that reads `gzip, chunked` sees another end of the body than we do: the start of request smuggling
 * (RFC 9112 section 6.1). The connection must go, as its next bytes may be anybody's.
 */
export function hasUnclearEnd({ headers, httpVersion }: IncomingMessage): boolean {
	const coding = headers["transfer-encoding"];
	return coding !== undefined && (coding.toLowerCase() !== "chunked" || httpVersion === "1.0");
}
