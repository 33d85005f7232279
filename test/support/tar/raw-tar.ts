/**
 * Tar entries written down field by field, whether they make sense or not.
 *
 * @module
 */
import { alignUp } from "../../../src/util/bytes.ts";

export interface RawEntry {
  readonly name: string;
  /** The type; a regular file if not given. */
  readonly flag?: string;
  readonly linkName?: string;
  readonly content?: string | Uint8Array;
  /** What the header says; the length of the content if not given. */
  readonly sizeBytes?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly device?: readonly [number, number];
  readonly prefix?: string;
  /** Magic number and version, eight bytes; ustar's if not given. */
  readonly magic?: string;
  /** Records of a PAX header before the entry. */
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
  /** Bytes to put into the header at an offset, before the checksum. */
  readonly patches?: readonly (readonly [number, string | Uint8Array])[];
}

const blockBytes = 512;

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

/** Strings are bytes, one a character. */
function toBytes(content: string | Uint8Array): Buffer {
  return typeof content === "string" ? Buffer.from(content, "latin1") : Buffer.from(content);
}

export function rawHeader(entry: RawEntry): Buffer {
  const block = Buffer.alloc(blockBytes);
  const put = (offset: number, text: string) => block.write(text, offset, "latin1");
  put(0, entry.name.slice(0, 100));
  put(100, octal(entry.mode ?? 0o644, 7));
  put(108, octal(entry.uid ?? 0, 7));
  put(116, octal(entry.gid ?? 0, 7));
  put(124, octal(entry.sizeBytes ?? toBytes(entry.content ?? "").length, 11));
  put(136, octal(entry.mtime ?? 1_000_000_000, 11));
  put(148, " ".repeat(8));
  put(156, entry.flag ?? "0");
  put(157, (entry.linkName ?? "").slice(0, 100));
  put(257, entry.magic ?? "ustar\x0000");
  put(329, octal(entry.device?.[0] ?? 0, 7));
  put(337, octal(entry.device?.[1] ?? 0, 7));
  put(345, entry.prefix ?? "");
  for (const [offset, patch] of entry.patches ?? []) block.set(toBytes(patch), offset);
  put(148, `${octal(checksum(block), 6)}\0 `);
  return block;
}

/** Of the block, with blanks where the checksum is. */
export function checksum(block: Uint8Array): number {
  return block.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
}

export function rawContent(content: string | Uint8Array): Buffer {
  const bytes = toBytes(content);
  return Buffer.concat([bytes, Buffer.alloc(alignUp(bytes.length, blockBytes) - bytes.length)]);
}

/** One record: `"<length> <key>=<value>\n"`, where the length counts its own digits. */
export function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const body = Buffer.concat([toBytes(` ${key}=`), toBytes(value), toBytes("\n")]);
  let length = body.length + 1;
  while (String(length).length + body.length > length) length += 1;
  return Buffer.concat([toBytes(String(length)), body]);
}

export function paxHeader(pax: Readonly<Record<string, string | Uint8Array>>, flag = "x"): Buffer {
  const records = Object.entries(pax).map(([key, value]) => paxRecord(key, value));
  const content = Buffer.concat(records);
  return rawEntry({ name: "PaxHeaders/x", flag, content });
}

export function rawEntry(entry: RawEntry): Buffer {
  return Buffer.concat([
    entry.pax === undefined ? Buffer.alloc(0) : paxHeader(entry.pax),
    rawHeader(entry),
    rawContent(entry.content ?? ""),
  ]);
}

export function rawTar(entries: readonly (RawEntry | Uint8Array)[]): Buffer {
  const parts = entries.map((entry) => (entry instanceof Uint8Array ? entry : rawEntry(entry)));
  return Buffer.concat([...parts, Buffer.alloc(2 * blockBytes)]);
}

/** A stream of pieces of a fixed size, the last one shorter. */
export async function* pieces(
  bytes: Uint8Array,
  pieceBytes = 65_536,
): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
