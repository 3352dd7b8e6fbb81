/** Every word of the pages, in both languages. A text that one of them lacks does not compile. */
import type { ErrorCode } from "../errors.ts";

/** The languages of the pages. */
export type Language = "en" | "ko";

/** The words of one language. */
export interface Texts {
	login: string;
	username: string;
	password: string;
	/** In front of the title of a page that says what went wrong. */
	error: string;
	account: string;
	sessions: string;
	thisSession: string;
	lastUsed: string;
	begun: string;
	end: string;
	/** How many sessions the list leaves out. */
	more(count: number): string;
	logout: string;
	logoutAll: string;
	/** The access token has ended, the session has not. */
	accessEnded: string;
	goOn: string;
	back: string;
	deviceOn(browser: string, system: string): string;
	unknownDevice: string;
	/** What went wrong, for a person; `other` where there is nothing better to say. */
	problems: Partial<Record<ErrorCode, string>> & { other: string };
}

const en: Texts = {
	login: "Log in",
	username: "Username",
	password: "Password",
	error: "Error",
	account: "Logged in as",
	sessions: "Where you are logged in",
	thisSession: "This device",
	lastUsed: "Last used",
	begun: "Logged in",
	end: "End",
	more: (count) => `And ${count} more, used longer ago. “Log out everywhere” ends them too.`,
	logout: "Log out",
	logoutAll: "Log out everywhere",
	accessEnded: "You were away for a while. Continue to manage your sessions.",
	goOn: "Continue",
	back: "Back to the start",
	deviceOn: (browser, system) => `${browser} on ${system}`,
	unknownDevice: "Unknown device",
	problems: {
		INVALID_CREDENTIALS: "The username or the password is wrong.",
		INVALID_USERNAME: "A username has 1 to 64 letters, digits or any of . _ @ + -",
		INVALID_PASSWORD: "This cannot be your password. Please type it again.",
		TOO_MANY_ATTEMPTS: "Too many attempts. Please try again later.",
		BUSY: "Many people are logging in right now. Please try again in a moment.",
		OVERLOADED: "The service has too much to do right now. Please try again in a moment.",
		STORE_UNAVAILABLE: "The service is not available right now. Please try again in a moment.",
		NO_SIGNING_KEY: "The service is not available right now. Please try again in a moment.",
		CROSS_ORIGIN_REFUSED: "This was sent from another website, so nothing was done.",
		CSRF_TOKEN_REQUIRED: "This page was out of date, so nothing was done. Please try again.",
		CSRF_TOKEN_MISMATCH: "This page was out of date, so nothing was done. Please try again.",
		TOO_MANY_ROLES: "Your account has more roles than fit. An administrator can help.",
		other: "That did not work. Please try again.",
	},
};

const ko: Texts = {
	login: "로그인",
	username: "사용자 이름",
	password: "비밀번호",
	error: "오류",
	account: "로그인한 계정",
	sessions: "로그인된 기기",
	thisSession: "현재 기기",
	lastUsed: "마지막 사용",
	begun: "로그인한 때",
	end: "종료",
	more: (count) =>
		`이보다 오래전에 사용된 기기가 ${count}대 더 있습니다. ‘모든 기기에서 로그아웃’하면 함께 종료됩니다.`,
	logout: "로그아웃",
	logoutAll: "모든 기기에서 로그아웃",
	accessEnded: "한동안 자리를 비우셨습니다. 계속하면 기기를 관리할 수 있습니다.",
	goOn: "계속하기",
	back: "처음으로 돌아가기",
	deviceOn: (browser, system) => `${system}의 ${browser}`,
	unknownDevice: "알 수 없는 기기",
	problems: {
		INVALID_CREDENTIALS: "사용자 이름 또는 비밀번호가 올바르지 않습니다.",
		INVALID_USERNAME: "사용자 이름은 문자, 숫자, . _ @ + - 로 된 1~64자입니다.",
		INVALID_PASSWORD: "비밀번호로 쓸 수 없는 값입니다. 다시 입력해 주세요.",
		TOO_MANY_ATTEMPTS: "시도 횟수가 너무 많습니다. 나중에 다시 시도해 주세요.",
		BUSY: "지금 로그인하는 사람이 많습니다. 잠시 후 다시 시도해 주세요.",
		OVERLOADED: "지금은 서비스 이용이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
		STORE_UNAVAILABLE: "지금은 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
		NO_SIGNING_KEY: "지금은 서비스를 이용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
		CROSS_ORIGIN_REFUSED: "다른 웹사이트에서 보낸 요청이라 처리하지 않았습니다.",
		CSRF_TOKEN_REQUIRED: "페이지가 오래되어 처리하지 않았습니다. 다시 시도해 주세요.",
		CSRF_TOKEN_MISMATCH: "페이지가 오래되어 처리하지 않았습니다. 다시 시도해 주세요.",
		TOO_MANY_ROLES: "계정에 역할이 너무 많습니다. 관리자에게 문의해 주세요.",
		other: "처리하지 못했습니다. 다시 시도해 주세요.",
	},
};

/** The words of each language. */
export const texts: Readonly<Record<Language, Texts>> = { en, ko };

/** The language that an Accept-Language header likes best (RFC 9110 section 12.5.4); English where it names neither. */
export function languageOf(header: string | undefined): Language {
	let best: { language: Language; weight: number } = { language: "en", weight: 0 };
	for (const item of (header ?? "").split(",").slice(0, 20)) {
		const [, language, q = "1"] = /^\s*(en|ko)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+)\s*)?$/i.exec(item) ?? [];
		if (language !== undefined && Number(q) > best.weight)
			best = { language: language.toLowerCase() as Language, weight: Number(q) };
	}
	return best.language;
}
