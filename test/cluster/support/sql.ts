/** Statements of a test's own, on connections of its own, at any address. */
import pg from "pg";

/** A connection, for locks and open transactions. Whoever opens it ends it. */
export async function connectTo(url: string): Promise<pg.Client> {
	const client = new pg.Client({ connectionString: url });
	client.on("error", () => {});
	await client.connect();
	return client;
}

/** One statement. */
export async function queryAt(
	url: string,
	statement: string,
	values: unknown[] = [],
): Promise<Record<string, unknown>[]> {
	const client = await connectTo(url);
	try {
		return (await client.query<Record<string, unknown>>(statement, values)).rows;
	} finally {
		await client.end().catch(() => {});
	}
}
