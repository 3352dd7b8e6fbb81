/**
 * The strict reading of `application/x-www-form-urlencoded` (WHATWG URL section 5.1): what another parser might read
 * differently is refused, so that no two parts of a system see two different logins.
 */
import { errors } from "./errors.ts";

/** Most fields a form may have. */
const mostFields = 100;

/**
 * The fields of a form, each name once.
 *
 * @throws PAYLOAD_TOO_LARGE over 100 fields; MALFORMED_REQUEST for bytes or escapes that are not UTF-8;
 * VALIDATION_FAILED for a name that comes twice.
 */
export function parseForm(body: string): Record<string, string> {
	// No prototype: a field named __proto__ is a field like any other, and no schema allows it.
	const fields: Record<string, string> = Object.create(null);
	const pairs = body === "" ? [] : body.split("&", mostFields + 1);
	if (pairs.length > mostFields) throw new errors.PAYLOAD_TOO_LARGE();
	// The body was read as UTF-8; raw bytes that are none have become U+FFFD.
	if (body.includes("\ufffd")) throw new errors.MALFORMED_REQUEST();
	for (const pair of pairs) {
		const equals = pair.indexOf("=");
		const name = decode(equals < 0 ? pair : pair.slice(0, equals));
		if (name in fields) throw new errors.VALIDATION_FAILED("a form field is given twice");
		fields[name] = equals < 0 ? "" : decode(pair.slice(equals + 1));
	}
	return fields;
}

/** `+` is a space, `%XX` a byte of UTF-8. `%zz`, `%ff` and overlong forms are errors, never replacement characters. */
function decode(text: string): string {
	try {
		return decodeURIComponent(text.replaceAll("+", " "));
	} catch (cause) {
		throw new errors.MALFORMED_REQUEST({ cause });
	}
}
