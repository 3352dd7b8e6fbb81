/** How any error whatever is answered: a code of the catalogue, its status and its headers, and nothing more. */
import { type CatalogueEntry, catalogue, type ErrorCode } from "./errors.ts";

// Not imported: an import asks node:http for all it exports, and so loads its fetch and WebSocket, 10 ms of a start.
const { STATUS_CODES } = process.getBuiltinModule("node:http");

/** The shape of every refusal, on every route and also outside of them. */
export interface ErrorAnswer {
	statusCode: number;
	code: string;
	error: string;
	message: string;
}

/** Errors that are not ours, by the code their maker gave them. Status 4xx of an unknown code becomes MALFORMED_REQUEST. */
const foreignCodes: Record<string, ErrorCode> = {
	FST_ERR_VALIDATION: "VALIDATION_FAILED",
	FST_ERR_CTP_BODY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
	FST_ERR_CTP_INVALID_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
	FST_ERR_CTP_INVALID_TYPE: "UNSUPPORTED_MEDIA_TYPE",
	FST_ERR_MAX_PARAM_LENGTH: "URI_TOO_LONG",
	HPE_HEADER_OVERFLOW: "HEADERS_TOO_LARGE",
	ERR_HTTP_REQUEST_TIMEOUT: "REQUEST_TIMEOUT",
};

/**
 * What a client is told about any error whatever: a catalogue code, its headers, and nothing that the catalogue does
 * not say. An unknown error is INTERNAL, or MALFORMED_REQUEST where its maker blamed the request (4xx).
 */
export function describe(error: unknown): {
	body: ErrorAnswer;
	headers: Record<string, string>;
} {
	const code = codeOf(error);
	const entry: CatalogueEntry = catalogue[code];
	const message = entry.message === "%s" ? (error as Error).message : entry.message;
	const headers: Record<string, string> = {};
	const { retryAfter = entry.retryAfter } = (error ?? {}) as { retryAfter?: number };
	if (entry.retryAfter !== undefined) headers["retry-after"] = String(retryAfter);
	if (entry.challenge !== undefined) {
		// The age that the route asks for (RFC 9470 section 3).
		const { maxAge } = error as { maxAge?: number };
		const wanted = maxAge === undefined ? "" : `, max_age=${maxAge}`;
		headers["www-authenticate"] = entry.challenge === "bare" ? "Bearer" : `Bearer error="${entry.challenge}"${wanted}`;
	}
	return {
		body: {
			statusCode: entry.statusCode,
			code,
			error: STATUS_CODES[entry.statusCode] ?? "Error",
			message,
		},
		headers,
	};
}

/** The catalogue code that stands for any error whatever. */
export function codeOf(error: unknown): ErrorCode {
	const { code, statusCode } = (error ?? {}) as {
		code?: unknown;
		statusCode?: unknown;
	};
	if (typeof code === "string") {
		if (Object.hasOwn(catalogue, code)) return code as ErrorCode;
		const known = Object.hasOwn(foreignCodes, code) ? foreignCodes[code] : undefined;
		if (known) return known;
		if (code.startsWith("HPE_") || code.startsWith("ERR_HTTP_")) return "MALFORMED_REQUEST";
	}
	if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500) return "MALFORMED_REQUEST";
	return "INTERNAL";
}
