/**
 * Takes the content of a layer chunk by chunk and stores what the node has not got.
 *
 * Content is read straight into a staging buffer, each chunk at a block boundary. When the buffer
 * is full, one query tells which of its chunks are in the index; the others are written, neighbours
 * with one write. So the number of system calls and statements follows the bytes, not the files.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { holeChunk, type ChunkRef } from "../erofs/tree.ts";
import { assert, defined } from "../util/assert.ts";
import { alignUp, MiB } from "../util/bytes.ts";
import type { ChunkTable } from "./chunk-table.ts";
import { findChunks } from "./index-database.ts";
import { blockBytes, blocksFor, type BlockAddress } from "./layout.ts";
import type { PackWriter } from "./pack-writer.ts";

const stagingBytesMin = 4 * MiB;
const sha256Bytes = 32;
const zeros = Buffer.alloc(64 * 1024);

interface StagedChunk {
  readonly ref: ChunkRef;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** True where all bytes are zero; looks no further than the first that is not. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const part = bytes.subarray(at, at + zeros.length);
    if (part[0] !== 0 || zeros.compare(part, 0, part.length, 0, part.length) !== 0) return false;
  }
  return true;
}

export interface ChunkSinkOptions {
  readonly database: Database;
  readonly table: ChunkTable;
  readonly writer: PackWriter;
  /** Gives `count` blocks in a row that nobody else gets. */
  readonly reserve: (count: number) => Promise<BlockAddress>;
  readonly chunkBytesMax: number;
}

export class ChunkSink {
  /** Chunks that the index had and the pack had lost. */
  restoredChunks = 0;
  readonly #options: ChunkSinkOptions;
  readonly #staging: Buffer;
  readonly #hash = new Uint8Array(sha256Bytes);
  #staged: StagedChunk[] = [];
  #end = 0;

  constructor(options: ChunkSinkOptions) {
    this.#options = options;
    this.#staging = Buffer.alloc(Math.max(stagingBytesMin, options.chunkBytesMax));
  }

  /** Room for a chunk of this size; fill it, then call `put`. Waits while staged chunks go out. */
  async space(sizeBytes: number): Promise<Buffer> {
    assert(sizeBytes > 0 && sizeBytes <= this.#options.chunkBytesMax, "chunk size out of range");
    if (this.#end + alignUp(sizeBytes, blockBytes) > this.#staging.length) await this.flush();
    return this.#staging.subarray(this.#end, this.#end + sizeBytes);
  }

  /** Takes the first `sizeBytes` of the last `space` as a chunk; a hole where all are zero. */
  put(sizeBytes: number): ChunkRef {
    const bytes = this.#staging.subarray(this.#end, this.#end + sizeBytes);
    if (isZero(bytes)) return holeChunk;
    Bun.SHA256.hash(bytes, this.#hash);
    const { table } = this.#options;
    const present = table.use(this.#hash);
    if (present !== undefined) return present;
    const ref = table.add(this.#hash, sizeBytes);
    this.#staged.push({ ref, offset: this.#end, sizeBytes });
    const end = this.#end + alignUp(sizeBytes, blockBytes);
    this.#staging.fill(0, this.#end + sizeBytes, end);
    this.#end = end;
    return ref;
  }

  /** Settles the address of every chunk taken so far and writes the new ones. */
  async flush(): Promise<void> {
    const { database, table } = this.#options;
    const staged = this.#staged;
    this.#staged = [];
    this.#end = 0;
    const missing = new Map(staged.map((chunk) => [chunk.ref, chunk]));
    const hashes = staged.map((chunk) => table.sha256Of(chunk.ref));
    findChunks(database, hashes, (row) => {
      const ref = defined(table.find(row.sha256), "a chunk that was asked for");
      table.settle(ref, row.block, "known");
      this.#restoreIfLost(defined(missing.get(ref), "a staged chunk"), row.block);
      missing.delete(ref);
    });
    let run: StagedChunk[] = [];
    for (const chunk of staged) {
      if (missing.has(chunk.ref)) run.push(chunk);
      else run = await this.#writeRun(run);
    }
    await this.#writeRun(run);
  }

  /**
   * What is found in the index must really be there. Content is synced before it is entered, but
   * a pack may have come back from a backup or a broken disk with holes: here are the bytes.
   */
  #restoreIfLost(chunk: StagedChunk, block: BlockAddress): void {
    const { writer } = this.#options;
    const count = blocksFor(chunk.sizeBytes);
    if (writer.isAllocated(block, count)) return;
    writer.write(block, this.#staging.subarray(chunk.offset, chunk.offset + count * blockBytes));
    this.restoredChunks += 1;
  }

  /** Writes chunks that lie side by side in the staging buffer; returns a new empty run. */
  async #writeRun(run: readonly StagedChunk[]): Promise<StagedChunk[]> {
    const first = run[0];
    const last = run.at(-1);
    if (first === undefined || last === undefined) return [];
    const end = last.offset + alignUp(last.sizeBytes, blockBytes);
    const block = await this.#options.reserve((end - first.offset) / blockBytes);
    this.#options.writer.write(block, this.#staging.subarray(first.offset, end));
    let next = block;
    for (const chunk of run) {
      this.#options.table.settle(chunk.ref, next, "written");
      next += blocksFor(chunk.sizeBytes);
    }
    return [];
  }
}
