/**
 * Keeps the content of a layer in one temporary file, until mkfs.erofs has read it.
 *
 * What becomes of a file is known only when all of the layer was read: a later entry of a tar may
 * replace it, and only the end of the blob tells whether any of it can be believed.
 *
 * The file has no name, so nothing of it outlives the process.
 *
 * @module
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type ChunkRef, holeChunk, type RegularFile } from "../erofs/tree.ts";
import type { ContentOptions } from "../layer/file-content.ts";
import { type ChunkUse, isZero } from "../store/chunk-sink.ts";
import { storageError } from "../store/pack-writer.ts";
import type { StorePaths } from "../store/paths.ts";
import { assert, defined } from "../util/assert.ts";
import { KiB, MiB } from "../util/bytes.ts";

/** Content of small files is written and read together. */
const bufferBytesMin = 4 * MiB;

/** Content up to this size needs no place in the file. */
const inlineBytesMax = KiB / 2;

/** A part of a file; its bytes are the caller's. */
export interface ContentPiece {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Undefined for a hole. */
  readonly bytes: Uint8Array | undefined;
}

export class ContentSpool implements Disposable {
  readonly #folder: string;
  readonly #file: number;
  readonly #buffer: Buffer;
  readonly #offsets: number[] = [];
  /** Bytes in the file, and behind them in the buffer. */
  #written = 0;
  #buffered = 0;

  constructor({ images }: Pick<StorePaths, "images">, chunkBytesMax: number) {
    this.#folder = images;
    this.#buffer = Buffer.allocUnsafe(Math.max(bufferBytesMin, chunkBytesMax));
    const path = join(images, `new-${crypto.randomUUID()}`);
    this.#file = this.#guard(() => openSync(path, "wx+", 0o600));
    rmSync(path);
  }

  /** As of a `ChunkSink`: the place for the content of a layer that is being read. */
  readonly sink: ContentOptions["sink"] = {
    space: (sizeBytes) => Promise.resolve(this.#space(sizeBytes)),
    put: (sizeBytes, use) => this.#put(sizeBytes, use),
    recount: () => undefined,
    inlineBytesMax,
  };

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  /** The content of a file in order, a piece for each chunk; nothing may be put any more. */
  *piecesOf({ content, sizeBytes }: RegularFile): Generator<ContentPiece, void> {
    if (content.kind === "inline") {
      yield { offsetBytes: 0, sizeBytes, bytes: content.bytes };
      return;
    }
    const { chunkSizeBytes, chunks } = content;
    const refs = typeof chunks === "number" ? [chunks] : chunks;
    for (const [index, ref] of refs.entries()) {
      const offsetBytes = index * chunkSizeBytes;
      const pieceBytes = Math.min(chunkSizeBytes, sizeBytes - offsetBytes);
      const bytes = ref === holeChunk ? undefined : Buffer.allocUnsafeSlow(pieceBytes);
      if (bytes !== undefined) this.#read(ref, bytes);
      yield { offsetBytes, sizeBytes: pieceBytes, bytes };
    }
  }

  #space(sizeBytes: number): Buffer {
    if (this.#buffered + sizeBytes > this.#buffer.length) this.#flush();
    return this.#buffer.subarray(this.#buffered, this.#buffered + sizeBytes);
  }

  #put(sizeBytes: number, { mayBeHole }: ChunkUse): ChunkRef {
    const bytes = this.#buffer.subarray(this.#buffered, this.#buffered + sizeBytes);
    if (mayBeHole && isZero(bytes)) return holeChunk;
    this.#buffered += sizeBytes;
    return this.#offsets.push(this.#written + this.#buffered - sizeBytes) - 1;
  }

  #flush(): void {
    for (let at = 0; at < this.#buffered;) {
      const from = at;
      at += this.#guard(() => {
        return writeSync(
          this.#file,
          this.#buffer,
          from,
          this.#buffered - from,
          this.#written + from,
        );
      });
    }
    this.#written += this.#buffered;
    this.#buffered = 0;
  }

  #read(ref: ChunkRef, target: Buffer): void {
    if (this.#buffered > 0) this.#flush();
    const start = defined(this.#offsets[ref], "a chunk of the spool");
    for (let at = 0; at < target.length;) {
      const from = at;
      const count = this.#guard(() => {
        return readSync(this.#file, target, from, target.length - from, start + from);
      });
      assert(count > 0, "the spool ends early");
      at += count;
    }
  }

  #guard<T>(operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      throw storageError(`keep content in "${this.#folder}" for mkfs.erofs`, error);
    }
  }
}
