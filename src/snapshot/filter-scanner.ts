/**
 * Splits a filter into tokens, as containerd's scanner does (pkg/filters/scanner.go).
 *
 * The language has one oddity the scanner must know of: after an operator, an unquoted word may
 * hold any printable character but a comma (`name~=[abc]+`), elsewhere only those of a field name.
 * Positions count characters (code points), from 0.
 *
 * @module
 */

export type TokenKind =
  "end" | "quoted" | "value" | "field" | "separator" | "operator" | "illegal" | "other";

export interface Token {
  readonly kind: TokenKind;
  readonly position: number;
  readonly text: string;
  /** Of an illegal token: what is wrong with it. */
  readonly problem?: string;
}

/** U+FFFD stands for bytes that are not UTF-8, which Go's scanner refuses; NUL it refuses too. */
const illegalProblems: ReadonlyMap<string, string> = new Map([
  ["\0", "unexpected null"],
  ["\uFFFD", "rune error"],
]);
const quoteMark = /^["/|]$/;
const operatorMark = /^[=!~]$/;
const fieldMark = /^[A-Za-z0-9_]$/;
/** Go's unicode.IsSpace and unicode.IsGraphic. */
const space = /^\p{White_Space}$/u;
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;

const isValueMark = (mark: string): boolean =>
  mark !== "," && printable.test(mark) && !illegalProblems.has(mark);
const isFieldMark = (mark: string): boolean => fieldMark.test(mark);
const isOperatorMark = (mark: string): boolean => operatorMark.test(mark);

/** Digits and their count after the first letter of a numeric escape; octal has none. */
const hexEscapeDigits: ReadonlyMap<string, number> = new Map([
  ["x", 2],
  ["u", 4],
  ["U", 8],
]);

export class FilterScanner {
  readonly #marks: readonly string[];
  #at = 0;
  #expectsValue = false;

  constructor(text: string) {
    this.#marks = Array.from(text);
  }

  /** The next character, spaces included; undefined at the end. */
  peek(): string | undefined {
    return this.#marks[this.#at];
  }

  get position(): number {
    return this.#at;
  }

  next(): Token {
    while (space.test(this.peek() ?? "")) this.#at++;
    const position = this.#at;
    const mark = this.peek();
    if (mark === undefined) return { kind: "end", position, text: "" };
    this.#at++;
    const problem = illegalProblems.get(mark);
    if (problem !== undefined) return { kind: "illegal", position, text: mark, problem };
    if (quoteMark.test(mark)) return this.#quoted(position, mark);
    if (mark === "," || mark === ".") {
      this.#expectsValue = false;
      return { kind: "separator", position, text: mark };
    }
    if (isOperatorMark(mark)) {
      this.#expectsValue = true;
      return this.#run("operator", position, isOperatorMark);
    }
    if (this.#expectsValue) {
      this.#expectsValue = false;
      return this.#run("value", position, isValueMark);
    }
    if (isFieldMark(mark)) return this.#run("field", position, isFieldMark);
    return { kind: "other", position, text: mark };
  }

  /** A token whose first character was taken: with all that follow and belong to it. */
  #run(kind: TokenKind, position: number, belongs: (mark: string) => boolean): Token {
    while (belongs(this.peek() ?? ",")) this.#at++;
    return { kind, position, text: this.#textFrom(position) };
  }

  #textFrom(position: number): string {
    return this.#marks.slice(position, this.#at).join("");
  }

  #quoted(position: number, quote: string): Token {
    let problem: string | undefined;
    for (;;) {
      const mark = this.#marks[this.#at];
      if (mark === undefined || mark === "\n" || illegalProblems.has(mark)) {
        problem ??= illegalProblems.get(mark ?? "") ?? "quoted literal not terminated";
        if (mark !== undefined) this.#at++;
        return { kind: "illegal", position, text: this.#textFrom(position), problem };
      }
      this.#at++;
      if (mark === quote) break;
      if (mark === "\\") problem ??= this.#escape(quote);
    }
    const text = this.#textFrom(position);
    if (problem !== undefined) return { kind: "illegal", position, text, problem };
    return { kind: "quoted", position, text };
  }

  /** Passes over what follows a backslash; returns what is wrong with it. */
  #escape(quote: string): string | undefined {
    const mark = this.peek();
    if (mark === undefined) return undefined;
    if (mark === quote || "abfnrtv\\".includes(mark)) {
      this.#at++;
      return undefined;
    }
    if (/^[0-7]$/.test(mark)) return this.#digits(/^[0-7]$/, 3);
    const count = hexEscapeDigits.get(mark);
    if (count === undefined) return "illegal escape sequence";
    this.#at++;
    return this.#digits(/^[0-9A-Fa-f]$/, count);
  }

  #digits(digit: RegExp, count: number): string | undefined {
    for (let seen = 0; seen < count; seen++) {
      if (!digit.test(this.peek() ?? "")) return "illegal numeric escape sequence";
      this.#at++;
    }
    return undefined;
  }
}
