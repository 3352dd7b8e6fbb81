/** Schemas that several routes share. One schema gives the type, the validation and the API page. */
import { type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { catalogue, type ErrorCode } from "./errors.ts";

/** `schema.consumes` of a route that takes a posted form, and JSON under the same schema. */
export const formOrJson = ["application/x-www-form-urlencoded", "application/json"];

/** The hidden field of a form that a browser posts with cookies: the same as the header X-CSRF-Token. */
export const csrfField = {
	csrf_token: Type.Optional(
		Type.String({ description: "With cookies: the value of __Host-csrf, where X-CSRF-Token lacks it" }),
	),
};

/** `schema.headers` of a route that takes a password. */
export const deviceHeader = Type.Object({
	"x-device-token": Type.Optional(
		Type.String({ description: "The device_token of an earlier login: tries of its own, apart from the account's" }),
	),
});

/** `schema.body` of a route that can do without one. */
export const optionalBody = <Fields extends TProperties>(fields: Fields) =>
	Type.Union([Type.Object(fields, { additionalProperties: false }), Type.Null()]);

/** Whether a schema of a body takes none as well. */
export const isOptionalBody = ({ anyOf = [] }: TSchema): boolean =>
	(anyOf as TSchema[]).some(({ type }) => type === "null");

/** Where a page leads to afterwards. Anybody may have written it: only `redirectTarget` says where that is. */
export const nextField = {
	next: Type.Optional(
		Type.String({ description: "For browsers: where it leads to, a path of this origin or an allowed host" }),
	),
};

/** A route that answers a page for people. */
export const htmlPage = {
	tags: ["pages"],
	produces: ["text/html"],
	response: { 200: Type.String({ description: "The page" }), 303: Type.Null({ description: "On to another page" }) },
};

/** The entry of `schema.response` for a browser that posted a form. */
export const sentOn = {
	303: Type.Null({ description: "To a browser that posted a form with cookies: on to the next page" }),
};

/**
 * Tokens, as they are given (RFC 6749 section 5.1). In cookies, the answer holds everything but the tokens.
 * All of them optional: required members would be written first, and people read access_token before its lifetime.
 */
export const TokenAnswer = Type.Object(
	{
		access_token: Type.Optional(Type.String()),
		token_type: Type.Optional(Type.Literal("Bearer")),
		expires_in: Type.Optional(Type.Integer({ description: "Seconds until the access token expires" })),
		refresh_token: Type.Optional(Type.String()),
		refresh_expires_in: Type.Optional(Type.Integer({ description: "Seconds until the refresh token expires" })),
		csrf_token: Type.Optional(Type.String({ description: "With cookies: what to repeat in X-CSRF-Token" })),
		device_token: Type.Optional(
			Type.String({ description: "From a login: what to send as X-Device-Token at the next one from the same device" }),
		),
	},
	{
		additionalProperties: false,
		description: "The tokens; or, where they went into cookies, what a page needs to know of them",
	},
);

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
