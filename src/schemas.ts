/** Schemas that several routes share. One schema gives the type, the validation and the API page. */
import { type TSchema, Type } from "@sinclair/typebox";
import { catalogue, type ErrorCode } from "./errors.ts";

/** `schema.consumes` of a route that takes a posted form, and JSON under the same schema. */
export const formOrJson = ["application/x-www-form-urlencoded", "application/json"];

/** `schema.querystring` of a route that takes no query: what should be in the body must not be in a URL (ASVS 14.2.1). */
export const NoQuery = Type.Object({}, { additionalProperties: false });

/** Every refusal. */
export const ErrorAnswer = Type.Object(
	{
		statusCode: Type.Integer(),
		code: Type.String(),
		error: Type.String(),
		message: Type.String(),
	},
	{ additionalProperties: false },
);

/** `schema.response` entries for catalogue codes, one a status, each described by its codes. */
export function refusals(...codes: ErrorCode[]): Record<number, TSchema> {
	const byStatus: Record<number, TSchema> = {};
	for (const code of codes) {
		const { statusCode, doc } = catalogue[code];
		const before = byStatus[statusCode]?.description;
		const description = [before, `${code}: ${doc}`].filter(Boolean).join("\n\n");
		byStatus[statusCode] = { ...ErrorAnswer, description };
	}
	return byStatus;
}
