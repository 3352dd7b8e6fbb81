/** Why the store cannot be opened, and what to do about it. */
import { errors } from "../errors.ts";
import type { Backend } from "./backend.ts";
import { isDamaged } from "./failures.ts";

/** A person reads this one, at start: what is wrong, which setting it is about, what to do. Never the URL: it has a password. */
export function cannotOpen({ kind, setting }: Backend, error: unknown): Error {
	// Says all of that already.
	if ((error as { code?: unknown }).code === "STORE_SETTINGS") return error as Error;
	const reason = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
	// An AggregateError, of a name with several addresses, has a code but no message.
	const what = reason.message || reason.code || String(reason);
	const remedies = {
		damaged: "Restore a backup, or name another folder.",
		sqlite: "Make that folder writable for this user, or name another one.",
		postgres: "Check that the server runs and that the URL is right.",
		bouncer:
			"PgBouncer must let it pass: ignore_startup_parameters = statement_timeout,idle_in_transaction_session_timeout (see docs/operations.md).",
		certificate: "Its certificate is not trusted: name the one to trust with sslrootcert=FILE in the URL.",
		name: "Its certificate is for another host: use the name in the certificate in the URL.",
	};
	const remedy = remedies[troubleOf(reason) ?? kind];
	const failure = new errors.STORE_UNAVAILABLE({ cause: reason });
	failure.message = `Cannot open the store that ${setting} names: ${what}. ${remedy}`;
	return failure;
}

/** What needs a remedy of its own. */
function troubleOf(reason: NodeJS.ErrnoException) {
	const { code = "", message } = reason;
	if (isDamaged(reason)) return "damaged";
	if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "name";
	// The codes of OpenSSL, as Node has them: DEPTH_ZERO_SELF_SIGNED_CERT, UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_HAS_EXPIRED, …
	if (/CERT|LEAF_SIGNATURE/.test(code)) return "certificate";
	if (/unsupported startup parameter/i.test(message)) return "bouncer";
	return undefined;
}
