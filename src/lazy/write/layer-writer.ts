/**
 * What both writers share: a tar goes in, part by part; the frames of a blob and the rows of its
 * table of contents come out. How parts become frames is what the formats differ in.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import type { TarEntry } from "../../tar/entry.ts";
import { assert, defined } from "../../util/assert.ts";
import { displayName } from "../../util/byte-string.ts";
import { tocBytesMax, tocEntriesMax } from "../limits.ts";
import type { LazyFormat } from "../model.ts";
import type { ExtraTimes } from "./extra-times.ts";
import { FrameQueue, type BlobSink, type CompressFrame, type FrameRange } from "./frame-queue.ts";
import { cleanName } from "./priority.ts";
import { lazyWriteChunkBytes, notLazy, type ContentPart, type TarPart } from "./tar-parts.ts";
import { TocBuilder } from "./toc-builder.ts";
import { ContentRows, entryRow } from "./toc-rows.ts";

/** The blob that was made of a tar. */
export interface LazyBlob {
  readonly digest: string;
  readonly sizeBytes: number;
  /** SHA-256 of the tar that the blob decompresses to. */
  readonly diffId: string;
  readonly tarBytes: number;
  /** Of the layer's descriptor. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Makes a blob of a tar in parts; rejects with `unimplemented` for a layer that cannot be lazy. */
export type LazyWriter = (parts: AsyncIterable<TarPart>, sink: BlobSink) => Promise<LazyBlob>;

/** Counts and hashes the tar, and keeps the table, while a writer makes frames. */
export class LayerWriter {
  readonly queue: FrameQueue;
  readonly toc = new TocBuilder();
  tarBytes = 0;
  readonly #format: LazyFormat;
  readonly #tarHasher = new Bun.CryptoHasher("sha256");
  readonly #names = new Map<string, TarEntry["type"]>();
  #entries = 0;
  #content: ContentRows | undefined;
  #onChunkPlaced: (() => void) | undefined;
  #missingBytes = 0;

  constructor(format: LazyFormat, compress: CompressFrame, sink: BlobSink) {
    this.#format = format;
    this.queue = new FrameQueue(compress, sink);
  }

  /** Notes bytes of the tar, in order. */
  hash(bytes: Uint8Array): void {
    this.#tarHasher.update(bytes);
    this.tarBytes += bytes.length;
  }

  diffId(): string {
    return `sha256:${this.#tarHasher.digest("hex")}`;
  }

  /** Adds an entry to the table, if tables list such. */
  addEntry(entry: TarEntry, times: ExtraTimes): void {
    assert(this.#missingBytes === 0, "an entry follows the content of the last one");
    const row = entryRow(entry, times, this.#format);
    if (row === undefined) {
      if (this.#format === "zstd-chunked") throw notLazy(entry, "is a global record");
      return;
    }
    this.#requireNew(entry);
    const chunks = Math.ceil((row.type === "reg" ? entry.sizeBytes : 0) / lazyWriteChunkBytes);
    this.#countRows(Math.max(1, chunks));
    this.#content = new ContentRows(row, chunks, this.#format);
    this.#missingBytes = chunks === 0 ? 0 : entry.sizeBytes;
    this.#onChunkPlaced = this.toc.add(this.#content.rows, chunks);
  }

  /** Adds a chunk of the last entry; what is returned is called when its frame has a place. */
  addChunk({ bytes, offsetBytes, release }: ContentPart): (range: FrameRange) => void {
    const content = defined(this.#content, "the file of a chunk");
    const onPlaced = defined(this.#onChunkPlaced, "the file of a chunk");
    const file = defined(content.rows[0], "the row of a file");
    const row = content.add(bytes, offsetBytes);
    this.#missingBytes -= bytes.length;
    if (this.#missingBytes === 0) content.finish();
    const isZstd = this.#format === "zstd-chunked";
    return ({ startBytes, endBytes }) => {
      release();
      row.offset = startBytes;
      if (isZstd) file.endOffset = endBytes;
      onPlaced();
    };
  }

  /** The table; all frames have to be flushed. */
  finishToc(more?: Readonly<Record<string, string>>): Buffer {
    const toc = this.toc.finish(more);
    if (toc.length > tocBytesMax) throw tooLarge(`${toc.length} bytes`);
    return toc;
  }

  #countRows(count: number): void {
    this.#entries += count;
    if (this.#entries > tocEntriesMax) throw tooLarge(`${this.#entries} entries`);
    if (this.toc.sizeBytes > tocBytesMax) throw tooLarge(`more than ${tocBytesMax} bytes`);
  }

  /**
   * Readers of both formats take files by their names. A directory may come twice in eStargz; in
   * zstd:chunked, containers/storage refuses any name that does.
   */
  #requireNew(entry: TarEntry): void {
    const name = cleanName(displayName(entry.name));
    const before = this.#names.get(name);
    const isFine = this.#format === "estargz" && before === "directory" && before === entry.type;
    if (before !== undefined && !isFine) throw notLazy(entry, "is in the layer twice");
    this.#names.set(name, entry.type);
  }
}

function tooLarge(size: string): AppError {
  return new AppError("unimplemented", `its table of contents would have ${size}`);
}
