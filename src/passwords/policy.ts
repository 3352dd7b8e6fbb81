/**
 * Which new passwords are refused (NIST SP 800-63B-4 section 3.1.1.2): too short, easy to guess, or built on the username
 * or the service's name. No rule about kinds of characters. Importing this file loads the dictionary: only the worker does.
 */
import { type MatchExtended, type OptionsGraph, ZxcvbnFactory } from "@zxcvbn-ts/core";
import { adjacencyGraphs, dictionary } from "@zxcvbn-ts/language-common";

const serviceName = "gatehouse";

/** A username as short as this is part of too many words. */
const minUsernameLength = 3;

/** The estimate takes about 5 ms for a usual password and 100 ms at this length; what comes after can only add strength. */
const judgedLength = 128;

const estimator = new ZxcvbnFactory({
	dictionary,
	graphs: adjacencyGraphs as OptionsGraph,
	maxLength: judgedLength,
});

/** What to tell the person, by the kind of pattern that covers most of the password. */
const reasons: Record<string, string> = {
	dictionary: "The password is made of common words and passwords",
	wordSequence: "The password is made of common words and passwords",
	spatial: "The password follows the keys of a keyboard",
	repeat: "The password repeats itself",
	sequence: "The password is a plain sequence",
	date: "The password is made of dates",
	regex: "The password is made of dates",
};

/**
 * The reason why a normalised password is refused, as a sentence for the person who chose it; undefined when it is good.
 * `minLength` is in code points.
 */
export function findWeakness(candidate: { password: string; username: string; minLength: number }): string | undefined {
	const { password, username, minLength } = candidate;
	if ([...password].length < minLength) return `The password needs at least ${minLength} characters`;
	const words = contextWords(username);
	const folded = fold(password);
	if (words.some((word) => folded.includes(word))) return "The password must not contain the username";
	if (folded.includes(serviceName)) return "The password must not contain the name of the service";
	return guessable(password, [...words, serviceName], minLength);
}

/**
 * A good password takes as many guesses as random digits of the minimum length less one. So length alone always suffices,
 * and it does not when most of it is in the dictionary.
 */
function guessable(password: string, words: string[], minLength: number): string | undefined {
	// The estimator takes the two UTF-16 halves of an emoji for characters and has none in its lists: each counts as one
	// unknown character (a factor of 10), and the rest is judged.
	const known = password.replace(/[\u{10000}-\u{10FFFF}]/gu, "");
	const unknown = [...password].length - [...known].length;
	if (unknown >= minLength - 1) return undefined;
	const { guesses, sequence } = estimator.check(known, words);
	if (guesses >= 10 ** (minLength - 1 - unknown)) return undefined;
	return `${reasons[mainPattern(sequence)] ?? "The password is easy to guess"}: choose a longer one, such as four or more random words`;
}

/** The pattern, brute force left out, that covers the most characters. */
function mainPattern(sequence: MatchExtended[]): string {
	const covered: Record<string, number> = {};
	for (const { pattern, token } of sequence)
		if (pattern !== "bruteforce") covered[pattern] = (covered[pattern] ?? 0) + token.length;
	return Object.entries(covered).sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}

/** The username, and its part before the @ where it is an e-mail address. */
function contextWords(username: string): string[] {
	const name = fold(username);
	const words = [name, name.split("@")[0] ?? ""];
	return words.filter((word) => [...word].length >= minUsernameLength);
}

/** Usernames are compared without case and without width, so the search for them must be, too. */
function fold(text: string): string {
	return text.normalize("NFKC").toLowerCase();
}
