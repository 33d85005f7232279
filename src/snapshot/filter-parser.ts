/** The grammar of filters (filter.ts), after containerd's pkg/filters/parser.go. */
import { AppError } from "../errors.ts";
import { unquote } from "./filter-quote.ts";
import { FilterScanner, type Token } from "./filter-scanner.ts";

export type Operator = "present" | "==" | "!=" | "~=";

export interface Selector {
  readonly fieldPath: readonly string[];
  readonly operator: Operator;
  /** Empty for `present`. */
  readonly value: string;
}

/** Throws `invalid_argument`; the message marks the offending character, as containerd's does. */
export function parseSelectors(input: string): Selector[] {
  return new FilterParser(input).selectors();
}

class FilterParser {
  readonly #input: string;
  readonly #scanner: FilterScanner;

  constructor(input: string) {
    this.#input = input;
    this.#scanner = new FilterScanner(input);
  }

  selectors(): Selector[] {
    const selectors = [this.#selector()];
    for (;;) {
      const mark = this.#scanner.peek();
      if (mark === undefined) return selectors;
      if (mark !== ",") throw this.#failure(this.#scanner.position, `unexpected input: ${mark}`);
      this.#scanner.next();
      selectors.push(this.#selector());
    }
  }

  #selector(): Selector {
    const fieldPath = this.#fieldPath();
    const mark = this.#scanner.peek();
    if (mark === undefined || mark === ",") return { fieldPath, operator: "present", value: "" };
    const operator = this.#operator();
    return { fieldPath, operator, value: this.#value(operator === "~=") };
  }

  #fieldPath(): string[] {
    const path = [this.#field()];
    while (this.#scanner.peek() === ".") {
      this.#scanner.next();
      path.push(this.#field());
    }
    return path;
  }

  #field(): string {
    const token = this.#scanner.next();
    if (token.kind === "field") return token.text;
    if (token.kind === "quoted") return this.#unquote(token, false);
    throw this.#failure(token.position, token.problem ?? "expected field or quoted");
  }

  #operator(): Operator {
    const token = this.#scanner.next();
    if (token.kind !== "operator") {
      const problem = token.problem ?? 'expected an operator ("=="|"!="|"~=")';
      throw this.#failure(token.position, problem);
    }
    if (token.text === "==" || token.text === "!=" || token.text === "~=") return token.text;
    throw this.#failure(token.position, `unsupported operator "${token.text}"`);
  }

  #value(isPattern: boolean): string {
    const token = this.#scanner.next();
    if (token.kind === "value" || token.kind === "field") return token.text;
    if (token.kind === "quoted") return this.#unquote(token, isPattern);
    throw this.#failure(token.position, token.problem ?? "expected value or quoted");
  }

  /** Slashes and bars quote patterns only, which would need many backslashes otherwise. */
  #unquote(token: Token, isPattern: boolean): string {
    if (!isPattern && !token.text.startsWith('"')) {
      throw this.#failure(token.position, "invalid quote encountered");
    }
    const text = unquote(token.text);
    if (text === undefined) {
      throw this.#failure(token.position, "unquoting failed: quote syntax error");
    }
    return text;
  }

  #failure(position: number, problem: string): AppError {
    const marks = Array.from(this.#input);
    const mark = marks[position];
    const before = marks.slice(0, position).join("");
    const after = marks.slice(position + 1).join("");
    const place = mark === undefined ? this.#input : `${before} >|${mark}|< ${after}`;
    return new AppError("invalid_argument", `filters: parse error: [${place}]: ${problem}`);
  }
}
