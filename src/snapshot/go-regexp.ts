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
const sameEscape = /^\\(?:[dDwWfnrtv]|x[0-9A-Fa-f]{2}|[pP]\{\^?[A-Za-z_]+\}|[pP][A-Z])/;
/** Bytes in octal; a single digit above zero would be a backreference, which RE2 has not. */
const octalEscape = /^\\(0[0-7]{0,2}|[1-7][0-7]{1,2})/;
/** RE2 knows `\s` as these five; JavaScript adds the spaces of Unicode. */
const asciiSpaces = "\\t\\n\\f\\r ";
const repetition = /^\{\d+(?:,\d*)?\}/;
const groupHead = /^\(\?(?:P?<([A-Za-z_]\w*)>|([ims]*)(?:-([ims]+))?(:|\)))/;
/** Characters that mean something in JavaScript's Unicode mode and so need a backslash. */
const syntaxMark = /[\^$\\.*+?()[\]{}|/-]/u;

/** What the places of a pattern are, which is all that assertions ask for. */
const assertions: ReadonlyMap<string, string> = new Map([
  ["\\A", "(?<![^])"],
  ["\\z", "(?![^])"],
  ["\\b", "\\b"],
  ["\\B", "\\B"],
]);

/** Matches as Go's `regexp.MatchString` does; undefined where Go cannot compile the pattern. */
export function compileGoRegexp(pattern: string): RegExp | undefined {
  try {
    return new RegExp(new Translator(pattern).translate(), "u");
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function literal(mark: string): string {
  if (mark === "-") return "\\x2D";
  return syntaxMark.test(mark) ? `\\${mark}` : mark;
}

/** JavaScript takes a repetition after a group, but not after a bare assertion. */
function assertion(source: string): string {
  return `(?:${source})`;
}

/**
 * Flags may change anywhere in a Go pattern, and hold to the end of the group. So none is a flag
 * of the whole: `s` and `m` choose the translation of a dot, `^` and `$`, and with `i` each
 * character and class is a group of its own.
 */
class Translator {
  #rest: string;
  #flags = "";
  /** The flags outside of each group that is open. */
  readonly #outerFlags: string[] = [];

  constructor(pattern: string) {
    this.#rest = pattern;
  }

  translate(): string {
    let source = "";
    while (this.#rest !== "") source += this.#piece();
    return source;
  }

  #take(length: number): string {
    const taken = this.#rest.slice(0, length);
    this.#rest = this.#rest.slice(length);
    return taken;
  }

  #takeMark(): string {
    return this.#take(String.fromCodePoint(this.#rest.codePointAt(0) ?? 0).length);
  }

  /** A piece that stands for one character of the text. */
  #one(source: string): string {
    return this.#flags.includes("i") ? `(?i:${source})` : source;
  }

  #piece(): string {
    switch (this.#rest.charAt(0)) {
      case "\\":
        return this.#escape();
      case "[":
        return this.#one(this.#class());
      case "(":
        return this.#groupStart();
      case ")":
        this.#flags = this.#outerFlags.pop() ?? "";
        return this.#take(1);
      case "{":
        return this.#take(repetition.exec(this.#rest)?.[0].length ?? 0) || literal(this.#take(1));
      case "^":
        this.#take(1);
        return assertion(this.#flags.includes("m") ? "(?<=^|\\n)" : "^");
      case "$":
        this.#take(1);
        return assertion(this.#flags.includes("m") ? "(?=$|\\n)" : "$");
      case ".":
        this.#take(1);
        // Unlike JavaScript's dot, Go's stops at nothing but a newline.
        return this.#flags.includes("s") ? "[^]" : "[^\\n]";
      case "*":
      case "+":
      case "?":
      case "|":
        return this.#take(1);
      default:
        return this.#one(literal(this.#takeMark()));
    }
  }

  #groupStart(): string {
    if (!this.#rest.startsWith("(?")) {
      this.#outerFlags.push(this.#flags);
      return this.#take(1);
    }
    const match = groupHead.exec(this.#rest);
    if (match === null) throw new SyntaxError("no such group in RE2");
    const [whole, name, on = "", off = "", end] = match;
    this.#take(whole.length);
    if (end !== ")") this.#outerFlags.push(this.#flags);
    // Nobody asks for the group by its name.
    if (name !== undefined) return "(?:";
    const flags = Array.from(this.#flags + on);
    this.#flags = flags.filter((flag) => !off.includes(flag)).join("");
    return end === ")" ? assertion("") : "(?:";
  }

  #escape(): string {
    const place = assertions.get(this.#rest.slice(0, 2));
    if (place !== undefined) {
      this.#take(2);
      return assertion(place);
    }
    if (this.#rest.startsWith("\\Q")) return this.#literalRun();
    if (this.#rest.startsWith("\\S")) {
      this.#take(2);
      return `[^${asciiSpaces}]`;
    }
    if (this.#rest.startsWith("\\s")) return `[${this.#memberEscape()}]`;
    return this.#one(this.#memberEscape());
  }

  /** An escape as it may stand in a class too. */
  #memberEscape(): string {
    const same = sameEscape.exec(this.#rest)?.[0];
    if (same !== undefined) return this.#property(this.#take(same.length));
    const octal = octalEscape.exec(this.#rest)?.[1];
    if (octal !== undefined) {
      this.#take(1 + octal.length);
      return `\\u{${Number.parseInt(octal, 8).toString(16)}}`;
    }
    if (this.#rest.startsWith("\\x")) return this.#codePoint();
    this.#take(1);
    const mark = this.#takeMark();
    if (mark === "s") return asciiSpaces;
    if (mark === "a") return "\\x07";
    if (/^[\0-/:-@[-`{-\x7F]$/.test(mark)) return literal(mark);
    throw new SyntaxError(`no escape of ${mark} in RE2`);
  }

  /** `\pN`, `\p{Greek}` and `\p{^Greek}`; other escapes as they are. */
  #property(escape: string): string {
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
    this.#take(2);
    const end = this.#rest.indexOf("\\E");
    const text = this.#take(end === -1 ? this.#rest.length : end);
    if (end !== -1) this.#take(2);
    return Array.from(text, (mark) => this.#one(literal(mark))).join("");
  }

  #class(): string {
    let source = this.#take(1);
    if (this.#rest.startsWith("^")) source += this.#take(1);
    // A bracket that comes first is itself a member.
    if (this.#rest.startsWith("]")) source += literal(this.#take(1));
    while (!this.#rest.startsWith("]")) {
      if (this.#rest === "") throw new SyntaxError("missing ]");
      source += this.#member();
    }
    return source + this.#take(1);
  }

  #member(): string {
    if (this.#rest.startsWith("\\")) return this.#memberEscape();
    const posix = /^\[:(\^?[a-z]+):\]/.exec(this.#rest);
    if (posix === null) {
      const mark = this.#takeMark();
      return mark === "[" ? "\\[" : mark;
    }
    this.#take(posix[0].length);
    const members = posixClasses.get(posix[1] ?? "");
    if (members === undefined) throw new SyntaxError(`no class ${posix[0]}`);
    return members;
  }
}
