/**
 * Traces: which pieces the start of an image reads first, and in which order.
 *
 * A line a piece: its SHA-256, the digest of the layer's blob, its offset in the lazy pack and its
 * size in bytes, milliseconds since the start, and in which of the last starts it was read (`x`) or
 * not (`-`), the newest first. Only the first word is needed: lists of hashes, one a line, are
 * traces as well, and who wants such a list takes the first word of each line.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import { MiB } from "../../util/bytes.ts";

export interface TraceEntry {
  /** Of the piece, hexadecimal. */
  readonly sha256: string;
  /** Of the blob of its layer, `sha256:…`; empty where nobody said. */
  readonly digest: string;
  /** In the lazy pack of the node where it was recorded; of other nodes it may be another one. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Since the first read of the start. */
  readonly atMs: number;
  /** `x` for each of the last starts that read it, `-` for one that did not; the newest first. */
  readonly starts: string;
}

/** Of a start; what is read after so many pieces is its work. */
export const tracePiecesMax = 20_000;
/** Four times what as many lines take that we write. */
export const traceBytesMax = 16 * MiB;
/** Starts that are remembered of a piece; it is forgotten when none of them read it. */
export const startsKept = 4;

const hashPattern = /^[0-9a-f]{64}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;
const numberPattern = /^[0-9]{1,15}$/;
const startsPattern = new RegExp(`^[x-]{1,${startsKept}}$`);

export function formatTrace(entries: readonly TraceEntry[]): string {
  return entries.map((entry) => `${formatEntry(entry)}\n`).join("");
}

function formatEntry({ sha256, digest, offsetBytes, sizeBytes, atMs, starts }: TraceEntry): string {
  return `${sha256} ${digest || "-"} ${offsetBytes} ${sizeBytes} ${Math.round(atMs)} ${starts}`;
}

/**
 * Each piece once, in the order of the lines; empty lines and words we do not know are passed over.
 *
 * @param name what to call the text in an error
 * @throws AppError `invalid_argument` for a line that begins with no SHA-256, `resource_exhausted`
 *   for more than `piecesMax` pieces
 */
export function parseTrace(text: string, name: string, piecesMax = tracePiecesMax): TraceEntry[] {
  const entries = new Map<string, TraceEntry>();
  let number = 0;
  for (const line of linesOf(text)) {
    number += 1;
    const [first = "", ...words] = line.trim().split(/\s+/);
    const sha256 = first.toLowerCase();
    if (sha256 === "") continue;
    if (!hashPattern.test(sha256)) {
      throw new AppError("invalid_argument", `Line ${number} of "${name}" is no SHA-256`);
    }
    if (entries.has(sha256)) continue;
    if (entries.size === piecesMax) {
      throw new AppError("resource_exhausted", `"${name}" has more than ${piecesMax} pieces`);
    }
    entries.set(sha256, { sha256, ...factsOf(words) });
  }
  return [...entries.values()];
}

function* linesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    yield text.slice(at, end < 0 ? text.length : end);
    at = end < 0 ? text.length : end + 1;
  }
}

/** What somebody else wrote behind the hash may mean anything. */
function factsOf(words: readonly string[]): Omit<TraceEntry, "sha256"> {
  const [digest = "", offset = "", size = "", at = "", starts = ""] = words;
  return {
    digest: digestPattern.test(digest) ? digest : "",
    offsetBytes: numberOf(offset),
    sizeBytes: numberOf(size),
    atMs: numberOf(at),
    starts: startsPattern.test(starts) ? starts : "x",
  };
}

function numberOf(word: string): number {
  return numberPattern.test(word) ? Number(word) : 0;
}
