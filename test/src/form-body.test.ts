/** L05, L07, L13: the strict reading of a form. */
import t from "tap";
import { parseForm } from "../../src/form-body.ts";

t.test("L13: a form is read as a browser wrote it", async (t) => {
	const cases: [string, Record<string, string>][] = [
		["", {}],
		["a=b", { a: "b" }],
		["a=b&c=d", { a: "b", c: "d" }],
		["a=", { a: "" }],
		["a", { a: "" }],
		["a=b=c", { a: "b=c" }],
		["a=+b+", { a: " b " }],
		["a=%2Bb%20", { a: "+b " }],
		["a=%26%3d", { a: "&=" }],
		["%61=%C3%A9", { a: "é" }],
		["a=é", { a: "é" }],
		["a=%25ff", { a: "%ff" }],
		["a=%00", { a: "\0" }],
		["a;b=c", { "a;b": "c" }],
		["a[]=b", { "a[]": "b" }],
		["__proto__=x", { ["__proto__"]: "x" }],
		["a=%EF%BB%BFb", { a: "\ufeffb" }],
	];
	for (const [body, fields] of cases) t.strictSame({ ...parseForm(body) }, fields, JSON.stringify(body));
});

t.test("L13: what two readers could read differently is refused", async (t) => {
	for (const body of ["a=%ff", "a=%zz", "a=%c0%af", "a=%", "a=%2", "a=%ed%a0%80", "%ff=a", "a=\ufffd", "a=%u0041"])
		t.throws(() => parseForm(body), { code: "MALFORMED_REQUEST" }, body);
});

t.test("L05: a name that comes twice is refused, however it is spelled", async (t) => {
	for (const body of ["a=1&a=1", "a=1&%61=2", "a&a", "a=1&b=2&a=3", "=1&=2", "a=1&&", "__proto__=1&__proto__=2"])
		t.throws(() => parseForm(body), { code: "VALIDATION_FAILED" }, body);
});

t.test("L07: 100 fields are read, 101 are not", async (t) => {
	const body = (count: number) => Array.from({ length: count }, (_, index) => `f${index}=x`).join("&");
	t.equal(Object.keys(parseForm(body(100))).length, 100);
	for (const count of [101, 100_000]) t.throws(() => parseForm(body(count)), { code: "PAYLOAD_TOO_LARGE" }, `${count}`);
});

t.test("L08: a field cannot reach a prototype", async (t) => {
	const fields = parseForm("__proto__=x&constructor=y&toString=z");
	t.equal(Object.getPrototypeOf(fields), null);
	t.strictSame(Object.keys(fields), ["__proto__", "constructor", "toString"]);
	t.notOk("x" in {});
});
