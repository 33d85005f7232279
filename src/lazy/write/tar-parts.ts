/**
 * A tar in the parts of which a lazy layer is made: headers as they stand there, entries as they
 * are meant, content in chunks.
 *
 * What a table of contents cannot say is refused, so that a layer is left as it is instead of
 * becoming another one for those who only read the table.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import type { TarEntry } from "../../tar/entry.ts";
import { blockBytes } from "../../tar/format.ts";
import { TarReader } from "../../tar/reader.ts";
import { bytesOf, displayName, type ByteString } from "../../util/byte-string.ts";
import { alignUp, MiB } from "../../util/bytes.ts";
import { specialFile } from "../special-files.ts";
import { formatTocTime } from "../toc-time.ts";
import { ChunkBuffers } from "./chunk-buffers.ts";
import { readExtraTimes, type ExtraTimes } from "./extra-times.ts";
import { TarTape } from "./tar-tape.ts";

/** As large as the chunks of our packs, and of the reference writer of eStargz. */
export const lazyWriteChunkBytes = 4 * MiB;

export type TarPart =
  /** Bytes between two contents: padding and headers. */
  | { readonly kind: "raw"; readonly bytes: Buffer }
  /** Its header was the last part; its content, if it has any, is the next ones. */
  | { readonly kind: "entry"; readonly entry: TarEntry; readonly times: ExtraTimes }
  /** A chunk of the entry's content. */
  | ContentPart
  /** The padding of the last content; then the end mark and what follows it. */
  | { readonly kind: "end" };

export interface ContentPart {
  readonly kind: "content";
  /** Nobody changes them before `release`. */
  readonly bytes: Buffer;
  readonly offsetBytes: number;
  /** To be called, at most once, when the bytes are not needed any more. */
  readonly release: () => void;
}

/** Why a layer cannot be made lazy; it stays a right layer as it is. */
export function notLazy(entry: Pick<TarEntry, "name">, problem: string): AppError {
  return new AppError("unimplemented", `"${displayName(entry.name)}" ${problem}`);
}

/**
 * All bytes of the tar, in order, in `raw` and `content` parts; but for files that are there for
 * the format's sake, if those are to be left out.
 *
 * @throws AppError `unimplemented` for what a table cannot say, FormatError for what is no tar
 */
export async function* tarParts(
  source: AsyncIterable<Uint8Array>,
  specialFiles: "keep" | "leave out",
): AsyncGenerator<TarPart, void> {
  const tape = new TarTape(source);
  const reader = new TarReader(tape, { globalRecords: "ignore" });
  const buffers = new ChunkBuffers(lazyWriteChunkBytes);
  let copied = 0;
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const contentStart = reader.position;
    const headerStart = alignUp(copied, blockBytes);
    const sizeBytes = entry.type === "file" ? entry.sizeBytes : 0;
    if (specialFiles === "leave out" && isSpecial(entry)) {
      yield { kind: "raw", bytes: tape.slice(copied, headerStart) };
      await skipContent(reader, tape, sizeBytes);
      copied = alignUp(contentStart + sizeBytes, blockBytes);
      continue;
    }
    const raw = tape.slice(copied, contentStart);
    yield { kind: "raw", bytes: raw };
    requireExpressible(entry, reader.isSparse);
    yield { kind: "entry", entry, times: readExtraTimes(raw.subarray(headerStart - copied)) };
    for (let at = 0; at < sizeBytes; at += lazyWriteChunkBytes) {
      const bytes = buffers.take(Math.min(lazyWriteChunkBytes, sizeBytes - at));
      await reader.readContent(bytes);
      tape.forget(reader.position);
      yield { kind: "content", bytes, offsetBytes: at, release: () => buffers.give(bytes) };
    }
    copied = contentStart + sizeBytes;
    tape.forget(copied);
  }
  yield* tail(tape, copied);
}

async function skipContent(reader: TarReader, tape: TarTape, sizeBytes: number): Promise<void> {
  for (let left = sizeBytes; left > 0; left -= lazyWriteChunkBytes) {
    await reader.readContent(Buffer.allocUnsafe(Math.min(lazyWriteChunkBytes, left)));
    tape.forget(reader.position);
  }
}

export function isSpecial({ type, name }: TarEntry): boolean {
  return type === "file" && specialFile(name) !== undefined;
}

async function* tail(tape: TarTape, start: number): AsyncGenerator<TarPart, void> {
  const padded = Math.max(start, Math.min(alignUp(start, blockBytes), tape.end));
  if (padded > start) yield { kind: "raw", bytes: tape.slice(start, padded) };
  yield { kind: "end" };
  if (tape.end > padded) yield { kind: "raw", bytes: tape.slice(padded, tape.end) };
  for await (const piece of tape) {
    yield { kind: "raw", bytes: Buffer.from(piece) };
    tape.forget(tape.end);
  }
}

/** @throws AppError `unimplemented` for what a table of contents cannot say */
export function requireExpressible(entry: TarEntry, isSparse: boolean): void {
  if (isSparse) throw notLazy(entry, "is a sparse entry");
  if (entry.type === "other") throw notLazy(entry, `is of the unknown type "${entry.flag}"`);
  const names = [entry.name, entry.linkName, ...entry.xattrs.map(({ name }) => name)];
  if (!names.every(isText)) throw notLazy(entry, "has a name that is no UTF-8");
  const time = { seconds: entry.mtimeSeconds, nanoseconds: entry.mtimeNanoseconds };
  if (formatTocTime(time) === undefined) throw notLazy(entry, "has a time beyond four-digit years");
}

function isText(name: ByteString): boolean {
  const bytes = bytesOf(name);
  // U+FFFD is what is written for other bytes, so readers cannot tell it from them.
  return Buffer.from(bytes.toString("utf8")).equals(bytes) && !bytes.includes("\ufffd");
}
