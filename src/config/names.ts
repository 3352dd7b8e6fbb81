/** Finds settings that were mistyped: a wrong name would otherwise be silence, and often the unsafe default. */

/** Kubernetes gives every pod variables for each service; for a service named `gatehouse` they begin like ours. */
const serviceLinks = /^GATEHOUSE_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/**
 * What somebody probably meant by this variable, or `undefined` where it is none of our business.
 * Two letters apart counts as mistyped; for names of four letters one does, because HOME, OS, DNS and TEST are two
 * letters from HOST and DOCS. Two letters in the wrong order count as one.
 */
export function looksMistyped(name: string, value: string, settings: readonly string[]): string | undefined {
	const known = [...settings, ...settings.map((setting) => `${setting}_FILE`)];
	if (known.includes(name)) return undefined;
	if (name.startsWith("GATEHOUSE_")) {
		if (serviceLinks.test(name) && (name !== "GATEHOUSE_PORT" || /^\w+:\/\//.test(value))) return undefined;
		const bare = name.slice("GATEHOUSE_".length);
		return known.includes(bare) ? `write ${bare} without the prefix` : "settings have no GATEHOUSE_ prefix";
	}
	const near = known.find((setting) => distance(name.toUpperCase(), setting) <= (setting.length > 5 ? 2 : 1));
	return near && `did you mean ${near}?`;
}

/** Letters to add, drop, change or swap with their neighbour (optimal string alignment distance). */
function distance(from: string, to: string): number {
	if (Math.abs(from.length - to.length) > 2) return 3;
	const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, column) => column)];
	const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
	for (let row = 1; row <= from.length; row++) {
		const current = [row];
		rows.push(current);
		for (let column = 1; column <= to.length; column++) {
			const same = from[row - 1] === to[column - 1];
			const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
			current[column] = Math.min(
				at(row - 1, column) + 1,
				at(row, column - 1) + 1,
				at(row - 1, column - 1) + (same ? 0 : 1),
				swapped ? at(row - 2, column - 2) + 1 : Number.POSITIVE_INFINITY,
			);
		}
	}
	return at(from.length, to.length);
}
