/** Statements of the hot path, built and compiled once: that costs more than most of them run. */
import type { Compilable, Kysely } from "kysely";
import type { Schema } from "./schema.ts";

/** Where a value goes in a prepared statement. */
export type Slot<Values> = <Name extends keyof Values>(name: Name) => Values[Name];

/** Stands in the place of the parameters of a statement that SQLite runs once for each of these lists. */
export class ParameterLists {
	readonly lists: readonly (readonly unknown[])[];

	constructor(lists: readonly (readonly unknown[])[]) {
		this.lists = lists;
	}
}

/** See `Store.prepare`. */
export function prepare<Values extends object, Row>(
	db: Kysely<Schema>,
	build: (slot: Slot<Values>) => Compilable<Row>,
): (values: Values) => Promise<Row[]> {
	const { compiled, parametersOf } = compile(build);
	return async (values) => (await db.executeQuery<Row>({ ...compiled, parameters: parametersOf(values) })).rows;
}

/** See `Store.prepareEach`. */
export function prepareEach<Values extends object, Row>(
	db: Kysely<Schema>,
	build: (slot: Slot<Values>) => Compilable<Row>,
): (all: readonly Values[]) => Promise<(Row | undefined)[]> {
	const { compiled, parametersOf } = compile(build);
	return async (all) => {
		const parameters = [new ParameterLists(all.map(parametersOf))];
		return (await db.executeQuery<Row | undefined>({ ...compiled, parameters })).rows;
	};
}

/** A statement, and what makes its parameters out of the values of one call. */
function compile<Values extends object, Row>(build: (slot: Slot<Values>) => Compilable<Row>) {
	const names = new Map<unknown, keyof Values>();
	const slot: Slot<Values> = (name) => {
		// Kysely takes it for the value, and hands it through.
		const mark = Symbol(String(name));
		names.set(mark, name);
		return mark as never;
	};
	const compiled = build(slot).compile();
	const parametersOf = (values: Values): unknown[] =>
		compiled.parameters.map((value) => {
			const name = names.get(value);
			return name === undefined ? value : values[name];
		});
	return { compiled, parametersOf };
}
