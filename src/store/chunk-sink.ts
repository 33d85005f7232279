/**
 * Takes the content of a layer chunk by chunk and stores what the node has not got.
 *
 * Content is read straight into a staging buffer, each chunk at a block boundary. When the buffer
 * is full, one query tells which of its chunks are in the index; the others are compressed on all
 * cores and written while the next buffer is filled. So the number of system calls and statements
 * follows the bytes, not the files, and memory is bounded by the number of buffers.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { encodeExtent, type ExtentCodec } from "../erofs/extent-codec.ts";
import { holeChunk, type ChunkRef } from "../erofs/tree.ts";
import { assert } from "../util/assert.ts";
import { alignUp, KiB, MiB } from "../util/bytes.ts";
import { noteWork } from "../util/garbage.ts";
import { BundleBuilder, bundledBytesMax, type FullBundle } from "./bundle-builder.ts";
import { encodeChunk } from "./chunk-encoder.ts";
import type { ChunkTable } from "./chunk-table.ts";
import { type ChunkRow, findBundles, findChunks } from "./index-database.ts";
import {
  type BlockAddress,
  blockBytes,
  blockOfPlace,
  blocksFor,
  type ChunkPlace,
  placeOf,
} from "./layout.ts";
import type { PackWriter } from "./pack-writer.ts";
import { type PendingWrite, type ReserveBlocks, WriteQueue } from "./write-queue.ts";

const stagingBytesMin = 4 * MiB;
/** One is filled while the others are compressed and written. */
const stagingBuffersMax = 3;
/** With smaller chunks each would be its own extent: what compression saves is lost to blocks. */
const compressedChunkBytesMin = 2 * bundledBytesMax;
/**
 * Content up to this size is better off in the image's metadata than in the store. In a pack it
 * would have a whole block: the limit is cheaper on disk as long as fewer than eight layers of the
 * node hold the same file. In a bundle it is compressed, and costs a row in the index.
 */
const inlineBytesMax = { raw: KiB / 2, bundled: KiB / 8 } as const;
const sha256Bytes = 32;
const zeros = Buffer.alloc(64 * KiB);

interface StagedChunk {
  readonly ref: ChunkRef;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What becomes of the file that a chunk belongs to. */
export interface ChunkUse {
  /** A chunk of zeros is a hole. */
  readonly mayBeHole: boolean;
  /** A small chunk shares a bundle with others; if not, it stays as it is. */
  readonly mayBeBundled: boolean;
  /** The chunk must not be compressed: a file has holes or compressed chunks, not both. */
  readonly isRaw: boolean;
}

export const chunkUse = {
  /** The only chunk of its file. */
  whole: { mayBeHole: true, mayBeBundled: true, isRaw: false },
  /** One of several, of a file that may have holes. */
  sparse: { mayBeHole: true, mayBeBundled: false, isRaw: true },
  /** One of several, of a file without holes; a short end would cost the others their plain map. */
  dense: { mayBeHole: false, mayBeBundled: false, isRaw: false },
} as const satisfies Record<string, ChunkUse>;

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
  readonly reserve: ReserveBlocks;
  readonly chunkBytesMax: number;
  /** Undefined: nothing is compressed. */
  readonly codec?: ExtentCodec | undefined;
  /** Raw content that was stored under another setting is tried again. */
  readonly recompresses?: boolean;
}

/** What new content is compressed with; undefined where chunks are too small for that. */
export function effectiveCodec(
  codec: ExtentCodec | undefined,
  chunkBytesMax: number,
): ExtentCodec | undefined {
  return chunkBytesMax < compressedChunkBytesMin ? undefined : codec;
}

/** To be disposed of before its writer is closed: then nothing is written any more. */
export class ChunkSink implements AsyncDisposable {
  /** Chunks that the index had and the pack had lost. */
  restoredChunks = 0;
  /** Where compressed content lay that the pack has lost; what came again is stored anew. */
  readonly lostBlocks = new Set<BlockAddress>();
  /** Raw chunks that were tried again and stay as they are. */
  readonly triedPlaces = new Set<ChunkPlace>();
  readonly #options: ChunkSinkOptions;
  readonly #codec: ExtentCodec | undefined;
  readonly #queue: WriteQueue;
  readonly #bundle = new BundleBuilder();
  /** Known bundles that are in the pack. */
  readonly #soundBundles = new Set<BlockAddress>();
  readonly #hash = new Uint8Array(sha256Bytes);
  readonly #freeBuffers: Buffer[] = [];
  readonly #batches: Promise<void>[] = [];
  #staging: Buffer;
  #staged: StagedChunk[] = [];
  #end = 0;

  constructor(options: ChunkSinkOptions) {
    const { chunkBytesMax, codec, writer, reserve } = options;
    this.#options = options;
    this.#codec = effectiveCodec(codec, chunkBytesMax);
    this.#queue = new WriteQueue(writer, reserve);
    this.#staging = Buffer.alloc(Math.max(stagingBytesMin, chunkBytesMax));
  }

  /** Content up to this size is not worth a chunk. */
  get inlineBytesMax(): number {
    return this.#codec === undefined ? inlineBytesMax.raw : inlineBytesMax.bundled;
  }

  /** Room for a chunk of this size; fill it, then call `put`. Waits while staged chunks go out. */
  async space(sizeBytes: number): Promise<Buffer> {
    assert(sizeBytes > 0 && sizeBytes <= this.#options.chunkBytesMax, "chunk size out of range");
    if (this.#end + alignUp(sizeBytes, blockBytes) > this.#staging.length) await this.#handOver();
    return this.#staging.subarray(this.#end, this.#end + sizeBytes);
  }

  /** Takes the first `sizeBytes` of the last `space` as a chunk, or as a hole. */
  put(sizeBytes: number, use: ChunkUse): ChunkRef {
    const bytes = this.#staging.subarray(this.#end, this.#end + sizeBytes);
    if (this.#effective(use).mayBeHole && isZero(bytes)) return holeChunk;
    Bun.SHA256.hash(bytes, this.#hash);
    const needsRaw = this.#needsRaw(sizeBytes, use);
    const { table } = this.#options;
    const present = table.use(this.#hash, needsRaw);
    if (present !== undefined) return present;
    const ref = table.add(this.#hash, sizeBytes, needsRaw);
    this.#staged.push({ ref, offset: this.#end, sizeBytes });
    const end = this.#end + alignUp(sizeBytes, blockBytes);
    this.#staging.fill(0, this.#end + sizeBytes, end);
    this.#end = end;
    return ref;
  }

  /**
   * Takes a chunk that an earlier layer has without its content, where that lies, there or
   * elsewhere, as it would be stored now. Undefined where it does not: then its content is wanted.
   */
  keep(earlier: ChunkRow, use: ChunkUse): ChunkRef | undefined {
    const { table } = this.#options;
    const { sha256, size_bytes: sizeBytes } = earlier;
    const needsRaw = this.#needsRaw(sizeBytes, use);
    const present = table.use(sha256, needsRaw);
    if (present !== undefined) return present;
    const stays = earlier.stale === 0 && this.#isGood(earlier, needsRaw);
    const row = stays ? earlier : this.#findGood(sha256, needsRaw);
    if (row === undefined) return undefined;
    const ref = table.add(sha256, sizeBytes, needsRaw);
    this.#useKnown(ref, row);
    return ref;
  }

  /** To be told of each use of a chunk in the end, where files were replaced after `put`. */
  recount(refs: Iterable<ChunkRef>): void {
    this.#options.table.recount(refs);
  }

  /** Settles the address of every chunk taken so far and writes the new ones. */
  async flush(): Promise<void> {
    await this.#handOver();
    const bundle = this.#bundle.take();
    if (bundle !== undefined) void this.#queue.add([this.#bundleWrite(bundle)]);
    await this.#queue.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
  }

  /** Sends what is staged on its way; goes on with another buffer, waiting for one if need be. */
  async #handOver(): Promise<void> {
    this.#queue.throwFailure();
    noteWork();
    const staging = this.#staging;
    const batch = this.#queue.add(this.#startWrites());
    this.#batches.push(batch.then(() => void this.#freeBuffers.push(staging)));
    this.#staged = [];
    this.#end = 0;
    if (this.#batches.length >= stagingBuffersMax) await this.#batches.shift();
    this.#staging = this.#freeBuffers.pop() ?? Buffer.alloc(staging.length);
  }

  #startWrites(): Promise<PendingWrite>[] {
    const { database, table } = this.#options;
    const known = table.findKnown(
      database,
      this.#staged.map(({ ref }) => ref),
    );
    const writes: Promise<PendingWrite>[] = [];
    for (const chunk of this.#staged) {
      const row = known.get(chunk.ref);
      const isOutdated = row !== undefined && this.#isOutdated(row, table.needsRaw(chunk.ref));
      if (row !== undefined && !isOutdated && this.#isThere(chunk, row)) {
        this.#useKnown(chunk.ref, row);
        continue;
      }
      const write = this.#startWrite(chunk, isOutdated ? row : undefined);
      if (write !== undefined) writes.push(Promise.resolve(write));
    }
    return writes;
  }

  #effective(use: ChunkUse): ChunkUse {
    return this.#codec === undefined ? chunkUse.sparse : use;
  }

  #needsRaw(sizeBytes: number, use: ChunkUse): boolean {
    const { isRaw, mayBeBundled } = this.#effective(use);
    return isRaw || (!mayBeBundled && sizeBytes <= bundledBytesMax);
  }

  #isGood(row: ChunkRow, needsRaw: boolean): boolean {
    if (row.encoding === 0) return !this.#isOutdated(row, needsRaw);
    return !needsRaw && row.encoding === this.#options.table.algorithm;
  }

  #findGood(sha256: Uint8Array, needsRaw: boolean): ChunkRow | undefined {
    const good: ChunkRow[] = [];
    findChunks(this.#options.database, [sha256], (row) => {
      if (this.#isGood(row, needsRaw)) good.push(row);
    });
    return good.find(({ encoding }) => encoding !== 0) ?? good[0];
  }

  /** Whether a chunk that can be used as it lies may lie better. */
  #isOutdated({ encoding, setting }: ChunkRow, needsRaw: boolean): boolean {
    const { recompresses, table } = this.#options;
    return recompresses === true && encoding === 0 && !needsRaw && setting !== table.algorithm;
  }

  #useKnown(ref: ChunkRef, row: ChunkRow): void {
    const { recompresses, table } = this.#options;
    table.settle(ref, row, "known");
    if (recompresses === true && row.encoding === 0) this.triedPlaces.add(row.place);
  }

  /**
   * Undefined for a chunk that waits in an open bundle.
   *
   * @param raw where it lies as it is, if it is to stay there unless compression saves something
   */
  #startWrite(
    chunk: StagedChunk,
    raw: ChunkRow | undefined,
  ): PendingWrite | Promise<PendingWrite> | undefined {
    const { table } = this.#options;
    const { ref, sizeBytes } = chunk;
    const codec = table.needsRaw(ref) ? undefined : this.#codec;
    if (codec === undefined) return this.#chunkWrite(ref, null, [this.#paddedOf(chunk)]);
    if (sizeBytes <= bundledBytesMax) {
      const full = this.#bundle.add(ref, this.#paddedOf(chunk).subarray(0, sizeBytes));
      return full === undefined ? undefined : this.#bundleWrite(full);
    }
    return encodeChunk(codec, this.#paddedOf(chunk), sizeBytes).then(({ extents, pieces }) => {
      if (extents !== null || raw === undefined) return this.#chunkWrite(ref, extents, pieces);
      this.#useKnown(ref, raw);
      return { pieces: [], settle: () => undefined };
    });
  }

  #chunkWrite(
    ref: ChunkRef,
    extents: Uint8Array | null,
    pieces: readonly Uint8Array[],
  ): PendingWrite {
    const { table } = this.#options;
    const blocks = pieces.reduce((sum, piece) => sum + piece.length, 0) / blockBytes;
    const encoding = extents === null ? 0 : (this.#codec?.algorithm ?? 0);
    const settle = (block: number) =>
      table.settle(ref, { place: placeOf(block), encoding, blocks, extents }, "written");
    return { pieces, settle };
  }

  async #bundleWrite({ content, members }: FullBundle): Promise<PendingWrite> {
    const codec = this.#codec;
    assert(codec !== undefined, "bundles are compressed");
    const { table } = this.#options;
    const stored = await encodeExtent(codec, content);
    const piece = stored ?? content;
    const encoding = stored === undefined ? 0 : codec.algorithm;
    const row = {
      blocks: piece.length / blockBytes,
      size_bytes: content.length,
      encoding,
    } as const;
    const member = { encoding: codec.algorithm, blocks: 0, extents: null };
    const settle = (block: number) => {
      table.writtenBundles.set(block, { block, ...row });
      for (const { ref, offsetBytes } of members) {
        table.settle(ref, { place: placeOf(block, offsetBytes), ...member }, "written");
      }
    };
    return { pieces: [piece], settle };
  }

  #paddedOf({ offset, sizeBytes }: StagedChunk): Uint8Array {
    return this.#staging.subarray(offset, offset + alignUp(sizeBytes, blockBytes));
  }

  /**
   * What is found in the index must really be there. Content is synced before it is entered, but
   * a pack may have come back from a backup or a broken disk with holes: here are the bytes. What
   * lay raw is written again where it was. What lay compressed need not come out the same again:
   * false, it is stored as new content is.
   */
  #isThere(chunk: StagedChunk, row: ChunkRow): boolean {
    const { database, writer } = this.#options;
    const block = blockOfPlace(row.place);
    let { blocks } = row;
    if (this.lostBlocks.has(block)) return false;
    if (this.#soundBundles.has(block)) return true;
    if (blocks === 0) findBundles(database, [block], (bundle) => (blocks = bundle.blocks));
    if (writer.isAllocated(block, blocks)) {
      if (row.blocks === 0) this.#soundBundles.add(block);
      return true;
    }
    if (!this.#isStillKnown(row)) return false;
    if (row.encoding !== 0) {
      this.lostBlocks.add(block);
      return false;
    }
    assert(blocks === blocksFor(chunk.sizeBytes), "a raw chunk has the blocks of its content");
    writer.restore(block, this.#paddedOf(chunk));
    this.restoredChunks += 1;
    return true;
  }

  /**
   * Whether the index has the chunk where it was found just now. A layer may be deleted at any
   * time, first its chunks from the index, then what they held: its blocks are nobody's any more,
   * and what is written there would stay.
   */
  #isStillKnown({ sha256, place }: ChunkRow): boolean {
    let isKnown = false;
    findChunks(this.#options.database, [sha256], (row) => (isKnown ||= row.place === place));
    return isKnown;
  }
}
