/** Reads the Wycheproof vectors beside the project; where that folder is absent their tests say so and skip. */
import type { webcrypto } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(import.meta.dirname, "../../../shared/vectors");

/** For the option `skip` of a test: false, or why there is nothing to run. */
export const skipWithoutVectors = existsSync(folder) ? false : `${folder} is absent`;

export interface Jwk extends webcrypto.JsonWebKey {
	kid?: string;
	alg?: string;
}

/** One vector: a whole token, or a message and its signature in hex. */
export interface Vector {
	tcId: number;
	comment: string;
	result: "valid" | "invalid" | "acceptable";
	flags: string[];
	jws?: string | object;
	jwe?: string | object;
	msg?: string;
	sig?: string;
}

/** Vectors under one key: a JWK or a set of them, or a PEM for the vectors of a bare signature. */
export interface VectorGroup {
	comment: string;
	private?: Jwk & { keys?: Jwk[] };
	public?: Jwk & { keys?: Jwk[] };
	publicKeyPem?: string;
	tests: Vector[];
}

/** The groups of a file such as `json_web_signature_test`. */
export function vectorGroups(name: string): VectorGroup[] {
	const text = readFileSync(join(folder, "wycheproof", `${name}.json`), "utf8");
	return (JSON.parse(text) as { testGroups: VectorGroup[] }).testGroups;
}

/** Every vector of a file beside its group. */
export const vectors = (name: string): [VectorGroup, Vector][] =>
	vectorGroups(name).flatMap((group) => group.tests.map((vector): [VectorGroup, Vector] => [group, vector]));

/** The keys of a group, whichever way they are written down; the private ones where there are such. */
export const keysOf = ({ private: own, public: shown }: VectorGroup): Jwk[] => {
	const given = own ?? shown;
	return given ? (given.keys ?? [given]) : [];
};
