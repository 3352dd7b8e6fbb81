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

/** What an answer with tokens may hold. */
const tokenFields = {
	access_token: Type.String(),
	token_type: Type.Literal("Bearer"),
	expires_in: Type.Integer({ description: "Seconds until the access token expires" }),
	refresh_token: Type.String(),
	refresh_expires_in: Type.Integer({ description: "Seconds until the refresh token expires" }),
	csrf_token: Type.String({ description: "Where cookies are on: what to repeat in X-CSRF-Token" }),
	device_token: Type.String({
		description: "From a login: what to send as X-Device-Token at the next one from the same device",
	}),
};

/**
 * Tokens, as they are given (RFC 6749 section 5.1). In cookies, the answer holds everything but the tokens.
 * All of them optional: required members would be written first, and people read access_token before its lifetime; and
 * one schema for both forms: of two, the one that fits would be looked for with each answer.
 */
export const TokenAnswer = Type.Partial(
	Type.Object(tokenFields, {
		additionalProperties: false,
		description: "The tokens; or, where they went into cookies, what a page needs to know of them",
	}),
);

/** The same as the API page shows it: each form with what it always has. Without cookies there is only one. */
export function shownTokenAnswer(cookies: boolean): TSchema {
	const { access_token, token_type, expires_in, refresh_token, refresh_expires_in, csrf_token, device_token } =
		tokenFields;
	const access = { access_token, token_type, expires_in };
	const device = { device_token: Type.Optional(device_token) };
	if (!cookies)
		return Type.Object(
			{
				...access,
				refresh_token: Type.Optional(refresh_token),
				refresh_expires_in: Type.Optional(refresh_expires_in),
				...device,
			},
			{ additionalProperties: false, description: "The tokens" },
		);
	const inBody = Type.Object(
		{ ...access, refresh_token, refresh_expires_in, ...device, csrf_token },
		{ additionalProperties: false, description: "The tokens" },
	);
	const accessInBody = Type.Object(access, {
		additionalProperties: false,
		description: "An access token of the same session",
	});
	const inCookies = Type.Object(
		{ token_type, expires_in, refresh_expires_in: Type.Optional(refresh_expires_in), csrf_token },
		{ additionalProperties: false, description: "Where they went into cookies" },
	);
	return Type.Union([inBody, accessInBody, inCookies], { description: TokenAnswer.description ?? "" });
}

/** `schema.querystring` of a route that takes no query: what should be in the body must not be in a URL (ASVS 14.2.1). */
export const NoQuery = Type.Object({}, { additionalProperties: false });

/** A refusal with one of these codes. The enum is for the API page: what writes an answer does not look at it. */
const refusal = (codes: readonly ErrorCode[]) =>
	Type.Object(
		{
			statusCode: Type.Integer(),
			code: Type.String({ enum: codes }),
			error: Type.String(),
			message: Type.String(),
		},
		{ additionalProperties: false, description: codes.map((code) => `${code}: ${catalogue[code].doc}`).join("\n\n") },
	);

/** `schema.response` entries for catalogue codes, one a status, each described by its codes. */
export function refusals(...codes: ErrorCode[]): Record<number, TSchema> {
	const byStatus = Object.groupBy(new Set(codes), (code) => catalogue[code].statusCode);
	return Object.fromEntries(Object.entries(byStatus).map(([status, ofIt = []]) => [status, refusal(ofIt)]));
}

/** The codes of a schema that `refusals` made; none where it is another one. */
export function codesOf({ properties = {} }: TSchema): ErrorCode[] {
	const { enum: codes = [] } = ((properties as Record<string, TSchema>).code ?? {}) as { enum?: string[] };
	return codes.every((code): code is ErrorCode => Object.hasOwn(catalogue, code)) ? codes : [];
}
