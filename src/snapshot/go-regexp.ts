/**
 * Go's regular expressions (RE2 syntax, `go doc regexp/syntax`) as JavaScript ones.
 *
 * Both are descendants of Perl's; where they differ in meaning or in what is an error, the pattern
 * is rewritten piece by piece. What RE2 refuses (lookaround, backreferences) is refused here too.
 *
 * @module
 */

/** POSIX classes, ASCII as in RE2; written for use inside a JavaScript class. */
const posixClasses: ReadonlyMap<string, string> = new Map([
  ["alnum", "0-9A-Za-z"],
  ["alpha", "A-Za-z"],
  ["ascii", "\\x00-\\x7F"],
  ["blank", "\\t "],
  ["cntrl", "\\x00-\\x1F\\x7F"],
  ["digit", "0-9"],
  ["graph", "!-~"],
  ["lower", "a-z"],
  ["print", " -~"],
  ["punct", "!-\\/:-@\\[-`\\{-~"],
  ["space", "\\t\\n\\v\\f\\r "],
  ["upper", "A-Z"],
  ["word", "0-9A-Za-z_"],
  ["^digit", "\\D"],
  ["^word", "\\W"],
]);

/** Escapes of the same meaning in both languages. */
const sameEscape = /^\\(?:[dDwWbBfnrtv]|x[0-9A-Fa-f]{2}|[pP]\{\^?[A-Za-z_]+\}|[pP][A-Z])/;
/** RE2 knows `\s` as these five; JavaScript adds the spaces of Unicode. */
const asciiSpaces = "\\t\\n\\f\\r ";
const repetition = /^\{\d+(?:,\d*)?\}/;
const groupHead = /^\(\?(?:P?<([A-Za-z_]\w*)>|([ims]*)(?:-([ims]+))?(:|\)))/;
/** Characters that mean something in JavaScript's Unicode mode and so need a backslash. */
const syntaxMark = /[\^$\\.*+?()[\]{}|/-]/u;

/** Matches as Go's `regexp.MatchString` does; undefined where Go cannot compile the pattern. */
export function compileGoRegexp(pattern: string): RegExp | undefined {
  try {
    const { source, flags } = new Translator(pattern).translate();
    return new RegExp(source, `u${flags}`);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function literal(text: string): string {
  return Array.from(text, (mark) =>
    syntaxMark.test(mark) ? (mark === "-" ? "\\x2D" : `\\${mark}`) : mark,
  ).join("");
}

class Translator {
  #rest: string;
  readonly #flags: string;
  /** Some dot, if not every one, matches newlines too. */
  #hasDotAll: boolean;

  constructor(pattern: string) {
    // Flags for the whole are RegExp flags: not every engine has `(?i:…)` in the pattern.
    const head = /^\(\?([ims]+)\)/.exec(pattern);
    this.#flags = [...new Set(head?.[1])].join("");
    this.#hasDotAll = this.#flags.includes("s");
    this.#rest = pattern.slice(head?.[0].length ?? 0);
  }

  translate(): { readonly source: string; readonly flags: string } {
    let source = "";
    while (this.#rest !== "") source += this.#piece();
    return { source, flags: this.#flags };
  }

  #take(length: number): string {
    const taken = this.#rest.slice(0, length);
    this.#rest = this.#rest.slice(length);
    return taken;
  }

  #piece(): string {
    const first = this.#rest.charAt(0);
    if (first === "\\") return this.#escape(false);
    if (first === "[") return this.#class();
    if (first === "(") return this.#group();
    if (first === "{") {
      const bounds = repetition.exec(this.#rest)?.[0];
      return bounds === undefined ? literal(this.#take(1)) : this.#take(bounds.length);
    }
    this.#take(1);
    // Unlike JavaScript's dot, Go's stops at nothing but a newline.
    if (first === ".") return this.#hasDotAll ? "." : "[^\\n]";
    return first === "}" || first === "]" ? literal(first) : first;
  }

  #group(): string {
    if (!this.#rest.startsWith("(?")) return this.#take(1);
    const match = groupHead.exec(this.#rest);
    if (match === null) throw new SyntaxError("no such group in RE2");
    const [whole, name, on = "", off = "", end] = match;
    this.#take(whole.length);
    if (name !== undefined) return `(?<${name}>`;
    if (on.includes("s")) this.#hasDotAll = true;
    if (end === ")") throw new SyntaxError("flags in the middle of a pattern");
    return on === "" && off === "" ? "(?:" : `(?${on}${off === "" ? "" : `-${off}`}:`;
  }

  #escape(inClass: boolean): string {
    const same = sameEscape.exec(this.#rest)?.[0];
    if (same !== undefined) return this.#sameEscape(same, inClass);
    const mark = String.fromCodePoint(this.#rest.codePointAt(1) ?? 0);
    if (mark === "x") return this.#codePoint();
    this.#take(1 + mark.length);
    if (mark === "s") return inClass ? asciiSpaces : `[${asciiSpaces}]`;
    if (mark === "S" && !inClass) return `[^${asciiSpaces}]`;
    if (mark === "a") return "\\x07";
    if (mark === "A" && !inClass) return "(?<![^])";
    if (mark === "z" && !inClass) return "(?![^])";
    if (mark === "Q") return this.#literalRun();
    if (/^[!-/:-@[-`{-~]$/.test(mark)) return literal(mark);
    throw new SyntaxError(`no escape \\${mark} in RE2`);
  }

  #sameEscape(escape: string, inClass: boolean): string {
    if (inClass && /^\\[bB]/.test(escape)) throw new SyntaxError("word boundary in a class");
    this.#take(escape.length);
    const property = /^\\([pP])\{?(\^?)([A-Za-z_]+)\}?$/.exec(escape);
    if (property === null) return escape;
    const [, sign = "p", not, name = ""] = property;
    const flipped = sign === "p" ? "P" : "p";
    // A script's name needs its key in JavaScript; a general category has one or two letters.
    const value = name.length <= 2 ? name : `Script=${name}`;
    return `\\${not === "^" ? flipped : sign}{${value}}`;
  }

  #codePoint(): string {
    const match = /^\\x\{([0-9A-Fa-f]{1,8})\}/.exec(this.#rest);
    if (match === null) throw new SyntaxError("bad \\x escape");
    this.#take(match[0].length);
    return `\\u{${match[1]}}`;
  }

  #literalRun(): string {
    const end = this.#rest.indexOf("\\E");
    const text = this.#take(end === -1 ? this.#rest.length : end);
    if (end !== -1) this.#take(2);
    return literal(text);
  }

  #class(): string {
    let source = this.#take(1);
    if (this.#rest.startsWith("^")) source += this.#take(1);
    // A bracket that comes first is itself a member.
    if (this.#rest.startsWith("]")) source += literal(this.#take(1));
    while (!this.#rest.startsWith("]")) {
      if (this.#rest === "") throw new SyntaxError("missing ]");
      source += this.#classPiece();
    }
    return source + this.#take(1);
  }

  #classPiece(): string {
    if (this.#rest.startsWith("\\")) return this.#escape(true);
    const posix = /^\[:(\^?[a-z]+):\]/.exec(this.#rest);
    if (posix === null) {
      const mark = this.#take(1);
      return mark === "[" ? "\\[" : mark;
    }
    this.#take(posix[0].length);
    const members = posixClasses.get(posix[1] ?? "");
    if (members === undefined) throw new SyntaxError(`no class ${posix[0]}`);
    return members;
  }
}
