/** Random values that nobody can guess, from the system's generator. */
import { randomBytes } from "node:crypto";

/** A new id of 128 random bits in 22 characters (base64url), used for `sub`, `sid` and `jti`. Never reused. */
export const randomId = (): string => randomBytes(16).toString("base64url");

/** A new secret of 256 random bits in 43 characters (base64url). */
export const randomSecret = (): string => randomBytes(32).toString("base64url");
