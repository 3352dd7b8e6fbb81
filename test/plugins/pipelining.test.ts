/** H18: requests of two people on one connection, as a gateway sends them: each answer is its own request's. */
import t from "tap";
import { testApp } from "../support/app.ts";
import { exchange, host, listen } from "../support/sockets.ts";

/** The answers of a connection, in their order. */
function answersIn(text: string): { head: string; body: string }[] {
	const answers = [];
	for (let rest = text; rest !== ""; ) {
		const end = rest.indexOf("\r\n\r\n");
		const head = rest.slice(0, end);
		const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]);
		answers.push({ head, body: rest.slice(end + 4, end + 4 + length) });
		rest = rest.slice(end + 4 + length);
	}
	return answers;
}

t.test("H18: 100 pipelined requests are answered in order, each with its own identity", async (t) => {
	const house = await testApp(t, { settings: { TRUST_PROXY: "127.0.0.1" } });
	const port = await listen(house);
	const people: { username: string; id: string; token: string }[] = [];
	for (const username of ["ada", "bob"])
		people.push({ username, id: await house.addUser(username), token: await house.tokenFor(username) });
	const requests = Array.from({ length: 100 }, (_, index) => {
		const person = people[index % 2] as (typeof people)[number];
		// Every seventh is refused, every fifth needs no query: neither may lend its neighbours its speed or its person.
		const isRefused = index % 7 === 3;
		const path = index % 5 === 4 ? "/protected" : "/me";
		const token = isRefused ? `${person.token.slice(0, -6)}AAAAAA` : person.token;
		const expected = isRefused
			? { code: "INVALID_TOKEN" }
			: path === "/me"
				? { id: person.id, username: person.username }
				: { message: `Protected route for user: ${person.id}` };
		const last = index === 99 ? "Connection: close\r\n" : "";
		const headers = `${host}Authorization: Bearer ${token}\r\nX-Request-Id: number-${index}\r\n${last}`;
		return { bytes: `GET ${path} HTTP/1.1\r\n${headers}\r\n`, status: isRefused ? 401 : 200, expected };
	});
	const { text, closed } = await exchange(port, requests.map(({ bytes }) => bytes).join(""), 20_000);
	t.equal(closed, true, "the last answer closes the connection");
	const answers = answersIn(text);
	t.equal(answers.length, requests.length);
	for (const [index, { status, expected }] of requests.entries()) {
		const { head, body } = answers[index] ?? { head: "", body: "null" };
		t.match(head, new RegExp(`^HTTP/1\\.1 ${status} `), `answer ${index}`);
		t.match(head, new RegExp(`\\r\\nx-request-id: number-${index}(\\r\\n|$)`, "i"), `answer ${index}`);
		t.match(JSON.parse(body), expected, `answer ${index}`);
	}
});
