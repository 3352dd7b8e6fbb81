/** The codec under refresh and device tokens. The texts of both are fixed: clients keep them for months, over updates. */
import t from "tap";
import { createMacToken } from "../../src/mac-token.ts";
import { deriveKey } from "../../src/secret.ts";
import { createRefreshTokens } from "../../src/sessions/refresh-token.ts";
import { createDeviceTokens } from "../../src/throttle/device-token.ts";

const keyFor = (purpose: string): Buffer => deriveKey("for this test only", purpose);
const id = "AAECAwQFBgcICQoLDA0ODw";

t.test("a refresh token that an earlier version made is read, and made again byte for byte", async (t) => {
	const token = "AQABAgMEBQYHCAkKCwwNDg8BAAAAAAOAyniSAjAbtal_l9BTIfoUF_k5viupjwvDyCwr8Qs3Zw";
	const tokens = createRefreshTokens([keyFor("refresh tokens")]);
	const named = { sessionId: id, generation: 2 ** 40 + 3 };
	t.equal(tokens.make(named), token);
	t.strictSame(tokens.read(token), named);
});

t.test("a device token that an earlier version made is read, and made again byte for byte", async (t) => {
	const token = "AQABAgMEBQYHCAkKCwwNDg8PDg0MCwoJCAcGBQQDAgEAAAAABwAAa0nSAK76q541pdVmcqHjx3MlyLieGKgbRKpqG4dfIcnW6dG7";
	const tokens = createDeviceTokens({ getKeys: () => [keyFor("device tokens")], isTooOld: () => false });
	const named = { id, userId: "Dw4NDAsKCQgHBgUEAwIBAA", generation: 7, expiresAt: 1_800_000_000 };
	t.equal(tokens.make(named), token);
	t.strictSame(tokens.read(token), named);
});

t.test("a token of another version, length or key is none, although its MAC is right", async (t) => {
	const codec = (version: number, bytes: number, ...purposes: [string, ...string[]]) => {
		const [first, ...others] = purposes;
		return createMacToken({ version, bytes, getKeys: () => [keyFor(first), ...others.map(keyFor)] });
	};
	const { make, read } = codec(1, 8, "one");
	const token = make(Buffer.from("-waffles"));
	t.equal(read(token)?.toString("latin1"), "\u0001waffles");
	t.equal(codec(1, 8, "two", "one").read(token)?.length, 8, "any of several keys reads it");
	t.not(codec(1, 8, "two", "one").make(Buffer.from("-waffles")), token, "and the first one makes it");
	t.equal(codec(2, 8, "one").read(token), undefined);
	t.equal(codec(1, 7, "one").read(token), undefined);
	t.equal(codec(1, 8, "two").read(token), undefined);
});
