import t from "tap";
import { goodPassword, testApp } from "../support/app.ts";
import { onEachStore } from "../support/stores.ts";

onEachStore((kind) => {
	t.test(`${kind}: a form goes in, a token that opens a protected route comes out`, async (t) => {
		const { addUser, login, get } = await testApp(t, { store: kind });
		const id = await addUser("ada");
		const answer = await login("ada", goodPassword);
		t.equal(answer.statusCode, 200);
		t.match(answer.json(), { token_type: "Bearer", expires_in: 900 });
		const greeting = await get("/protected", answer.json().access_token);
		t.same(greeting.json(), { message: `Protected route for user: ${id}` });
	});
});
