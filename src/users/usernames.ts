/** Usernames: which are possible, and the one form in which each is stored and looked up. */
import { errors } from "../errors.ts";

/** Code points. */
const longest = 64;

/**
 * The one spelling of a username: full-width forms become narrow, letters lower-case, then NFC (after RFC 8265
 * section 3.3). One account, one counter, one log entry, however it was typed.
 *
 * @throws INVALID_USERNAME where no account can have this name, before anything is looked up.
 */
export function canonicalUsername(username: string): string {
	// Before NFC, whose time grows with the square of a run of combining marks. Four UTF-16 units may become one character, not more.
	if (username.length > 4 * longest) throw new errors.INVALID_USERNAME();
	const canonical = username
		.replace(/[\u3000\uff00-\uffef]/g, (wide) => wide.normalize("NFKC"))
		.toLowerCase()
		.normalize("NFC");
	if (!/^[\p{L}\p{M}\p{Nd}._@+-]{1,64}$/u.test(canonical)) throw new errors.INVALID_USERNAME();
	return canonical;
}
