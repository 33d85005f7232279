/**
 * The elements of the array `entries` of a JSON document, some hundred at a time.
 *
 * A table of contents may have a hundred megabytes, and as objects several times that. Here the
 * document is walked over only so far as it takes to know where elements begin and end; what lies
 * between is left to `JSON.parse`, which refuses all that is no JSON. What it gets at a time is
 * bounded, for a byte may become an object.
 *
 * @module
 */
import { tocEntriesMax, tocEntryBytesMax } from "./limits.ts";
import { tocTooLarge } from "./toc-fields.ts";

const character = {
  tab: 0x09,
  newline: 0x0a,
  return: 0x0d,
  space: 0x20,
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  openBracket: 0x5b,
  backslash: 0x5c,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const;

/** Elements that are parsed together, unless they are long. */
const elementsPerBatch = 512;
const key = Buffer.from('"entries"');

/** A range of the document that holds this many elements, with the commas between them. */
interface Batch {
  readonly start: number;
  readonly end: number;
  readonly count: number;
}

export interface JsonEntries {
  /** The document without the elements, for all else that it says. */
  readonly rest: unknown;
  /** All elements, in order; throws SyntaxError where one is no JSON. */
  readonly elements: () => Generator<unknown, void>;
}

/**
 * @throws AppError `resource_exhausted` beyond the limits, SyntaxError for what is no JSON, and
 *   TypeError for what is no UTF-8; whether the elements themselves are, is found out when they are
 *   asked for
 */
export function jsonEntries(json: Uint8Array): JsonEntries {
  const batches: Batch[] = [];
  const array = new Walker(json).findEntries(batches);
  const text = (start: number, end: number) =>
    new TextDecoder("utf-8", { fatal: true }).decode(json.subarray(start, end));
  const { start: first, end: last } = array ?? { start: json.length, end: json.length };
  const restBytes = first + json.length - last;
  if (restBytes > tocEntryBytesMax) throw tocTooLarge(`${restBytes} bytes beside its entries`);
  const rest: unknown = JSON.parse(text(0, first) + text(last, json.length));
  return {
    rest,
    *elements() {
      for (const { start, end, count } of batches) {
        const values = JSON.parse(`[${text(start, end)}]`) as unknown[];
        if (values.length !== count) throw new SyntaxError("a comma is the last element");
        yield* values;
      }
    },
  };
}

/** Goes over a document that is JSON, or ends somewhere in one that is not. */
class Walker {
  readonly #json: Uint8Array;
  #at = 0;

  constructor(json: Uint8Array) {
    this.#json = json;
  }

  /** Where the array's elements lie, between its brackets; undefined where there is no array. */
  findEntries(batches: Batch[]): { readonly start: number; readonly end: number } | undefined {
    if (!this.#take(character.openBrace)) return undefined;
    do {
      this.#skipSpace();
      const isEntries = key.compare(this.#json, this.#at, this.#at + key.length) === 0;
      this.#skipValue();
      if (!this.#take(character.colon)) return undefined;
      if (isEntries && this.#take(character.openBracket)) {
        const start = this.#at;
        this.#walkElements(batches);
        return { start, end: this.#at };
      }
      this.#skipSpace();
      this.#skipValue();
    } while (this.#take(character.comma));
    return undefined;
  }

  /** Ends in front of the closing bracket. */
  #walkElements(batches: Batch[]): void {
    this.#skipSpace();
    if (this.#json[this.#at] === character.closeBracket) return;
    let total = 0;
    for (;;) {
      const start = this.#at;
      let count = 0;
      let end: number;
      let hasMore: boolean;
      do {
        const from = this.#at;
        this.#skipSpace();
        this.#skipValue();
        end = this.#at;
        if (end - from > tocEntryBytesMax) throw tocTooLarge(`an entry of ${end - from} bytes`);
        count += 1;
        hasMore = this.#take(character.comma);
      } while (hasMore && count < elementsPerBatch && end - start < tocEntryBytesMax);
      total += count;
      if (total > tocEntriesMax) throw tocTooLarge(`more than ${tocEntriesMax} entries`);
      batches.push({ start, end, count });
      if (!hasMore) return;
    }
  }

  /** Takes the character behind white space, if it is the next. */
  #take(wanted: number): boolean {
    this.#skipSpace();
    if (this.#json[this.#at] !== wanted) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    while (isSpace(this.#json[this.#at])) this.#at += 1;
  }

  #skipValue(): void {
    let depth = 0;
    for (; this.#at < this.#json.length; this.#at++) {
      const byte = this.#json[this.#at]!;
      if (byte === character.quote) this.#skipString();
      else if (byte === character.openBrace || byte === character.openBracket) depth += 1;
      else if (byte === character.closeBrace || byte === character.closeBracket) {
        if (depth === 0) return;
        depth -= 1;
        if (depth > 0) continue;
        this.#at += 1;
        return;
      } else if (depth === 0 && (byte === character.comma || isSpace(byte))) return;
      else if (depth === 0 && byte === character.colon) return;
    }
  }

  /** From the first quote to the last one, on which it ends. */
  #skipString(): void {
    for (this.#at += 1; this.#at < this.#json.length; this.#at++) {
      const byte = this.#json[this.#at];
      if (byte === character.backslash) this.#at += 1;
      else if (byte === character.quote) return;
    }
  }
}

function isSpace(byte: number | undefined): boolean {
  return (
    byte === character.space ||
    byte === character.newline ||
    byte === character.tab ||
    byte === character.return
  );
}
