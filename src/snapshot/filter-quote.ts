/** Quoted parts of a filter: Go's string literals, with `/` and `|` as further quotation marks. */

const simpleEscapes: ReadonlyMap<string, string> = new Map([
  ["a", "\x07"],
  ["b", "\b"],
  ["f", "\f"],
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["v", "\v"],
]);

/** After the scanner every escape is well formed; only the value of a number can be wrong. */
const escape = /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|([^]))/gu;

const codePointMax = 0x10_ff_ff;
const byteMax = 0xff;

/**
 * The text between the quotation marks with its escapes resolved; undefined where a number is too
 * large. `\x` and octal escapes are bytes, as in Go, and the whole is read as UTF-8 in the end.
 */
export function unquote(quoted: string): string | undefined {
  const inner = quoted.slice(1, -1);
  if (!inner.includes("\\")) return inner;
  const parts: Buffer[] = [];
  let end = 0;
  for (const match of inner.matchAll(escape)) {
    const bytes = escapedBytes(match);
    if (bytes === undefined) return undefined;
    parts.push(Buffer.from(inner.slice(end, match.index)), bytes);
    end = match.index + match[0].length;
  }
  parts.push(Buffer.from(inner.slice(end)));
  return Buffer.concat(parts).toString("utf8");
}

function escapedBytes(match: RegExpExecArray): Buffer | undefined {
  const [, hexByte, shortPoint, longPoint, octal, other] = match;
  const byte = hexByte === undefined ? octal : undefined;
  if (hexByte !== undefined) return Buffer.from([Number.parseInt(hexByte, 16)]);
  if (byte !== undefined) {
    const value = Number.parseInt(byte, 8);
    return value > byteMax ? undefined : Buffer.from([value]);
  }
  const point = shortPoint ?? longPoint;
  if (point !== undefined) {
    const value = Number.parseInt(point, 16);
    return value > codePointMax ? undefined : Buffer.from(String.fromCodePoint(value));
  }
  return Buffer.from(simpleEscapes.get(other ?? "") ?? other ?? "");
}
