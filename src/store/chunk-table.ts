/**
 * The chunks of one layer while it is built.
 *
 * A tree refers to a chunk by its number in this table, so that the address can be settled last:
 * when the layer is published, another one may have stored the same content first.
 *
 * A layer may have millions of chunks, so the table is columns, some 70 bytes a chunk.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { type CompressionAlgorithm, extentBytesMax } from "../erofs/compression.ts";
import type { ChunkRef } from "../erofs/tree.ts";
import { assert } from "../util/assert.ts";
import { ByteSlabs } from "../util/byte-slabs.ts";
import { columnRowsMin, grownColumn } from "../util/columns.ts";
import { HashIndex } from "../util/hash-index.ts";
import {
  type BundleRow,
  type ChunkRow,
  type Encoding,
  findChunks,
  type StoredChunk,
} from "./index-database.ts";
import { type BlockAddress, blockOfPlace, type ChunkPlace } from "./layout.ts";

/** Where a chunk of the layer is. */
export type ChunkOrigin =
  /** In the index, put there by an earlier layer. */
  | "known"
  /** Written by this layer, not in the index yet. */
  | "written"
  /** In the lazy pack of this layer, there or not; never in the index. */
  | "lazy";

const sha256Bytes = 32;

/** Bits of a chunk. */
const flag = {
  /** Its file has holes, or nothing is compressed: it must lie in the pack as it is. */
  needsRaw: 1,
  isSettled: 2,
  isWritten: 4,
  hasExtents: 8,
  isLazy: 16,
} as const;

export class ChunkTable {
  /** With which algorithm new content is compressed; undefined: not at all. */
  readonly algorithm: CompressionAlgorithm | undefined;
  /** Bundles that this layer wrote, by address. */
  readonly writtenBundles = new Map<BlockAddress, BundleRow>();
  readonly #byContent = new HashIndex();
  readonly #extents = new ByteSlabs();
  #length = 0;
  #hashes = new Uint8Array(columnRowsMin * sha256Bytes);
  #sizesBytes = new Uint32Array(columnRowsMin);
  #uses = new Uint32Array(columnRowsMin);
  #flags = new Uint8Array(columnRowsMin);
  #places = new Float64Array(columnRowsMin);
  #encodings = new Uint8Array(columnRowsMin);
  #blocks = new Uint32Array(columnRowsMin);
  #extentsAt = new Uint32Array(columnRowsMin);

  constructor(algorithm?: CompressionAlgorithm) {
    this.algorithm = algorithm;
  }

  get length(): number {
    return this.#length;
  }

  /** The number of a chunk that this layer has already, with one more use of it counted. */
  use(sha256: Uint8Array, needsRaw: boolean): ChunkRef | undefined {
    const ref = this.#find(sha256, needsRaw);
    if (ref !== undefined) this.#uses[ref]! += 1;
    return ref;
  }

  add(sha256: Uint8Array, sizeBytes: number, needsRaw: boolean): ChunkRef {
    const ref = this.addUnique(sizeBytes, needsRaw);
    this.#hashes.set(sha256, ref * sha256Bytes);
    this.#byContent.add(slotHash(sha256), ref);
    return ref;
  }

  /** A chunk that is like no other, for nobody knows its hash. */
  addUnique(sizeBytes: number, needsRaw: boolean): ChunkRef {
    if (this.#length === this.#flags.length) this.#grow(2 * this.#length);
    const ref = this.#length++;
    this.#sizesBytes[ref] = sizeBytes;
    this.#flags[ref] = needsRaw ? flag.needsRaw : 0;
    this.#uses[ref] = 1;
    return ref;
  }

  /** Whether it is known where the chunk lies. */
  isSettled(ref: ChunkRef): boolean {
    this.#check(ref);
    return (this.#flags[ref]! & flag.isSettled) !== 0;
  }

  settle(ref: ChunkRef, stored: StoredChunk, origin: ChunkOrigin): void {
    this.#check(ref);
    const { place, encoding, blocks, extents } = stored;
    let flags = (this.#flags[ref]! & flag.needsRaw) | flag.isSettled;
    if (origin === "written") flags |= flag.isWritten;
    if (origin === "lazy") flags |= flag.isLazy;
    if (extents !== null) {
      assert(extents.length === this.#extentCount(ref), "extents cover their chunk");
      // A chunk is settled again when it is found elsewhere: what was there is overwritten.
      const hadExtents = (this.#flags[ref]! & flag.hasExtents) !== 0;
      if (hadExtents) this.#extents.bytesAt(this.#extentsAt[ref]!, extents.length).set(extents);
      else this.#extentsAt[ref] = this.#extents.add(extents);
      flags |= flag.hasExtents;
    }
    this.#flags[ref] = flags;
    this.#places[ref] = place;
    this.#encodings[ref] = encoding;
    this.#blocks[ref] = blocks;
  }

  /**
   * What the index has of these chunks in a form the layer can use, compressed rather than raw.
   */
  findKnown(database: Database, refs: readonly ChunkRef[]): Map<ChunkRef, ChunkRow> {
    const found = new Map<ChunkRef, ChunkRow>();
    const hashes = refs.map((ref) => this.sha256Of(ref));
    findChunks(database, hashes, (row) => {
      for (const needsRaw of [false, true]) {
        const ref = this.#find(row.sha256, needsRaw);
        if (ref === undefined || (row.encoding !== 0 && needsRaw)) continue;
        if (row.encoding !== 0 && row.encoding !== this.algorithm) continue;
        if (row.encoding !== 0 || !found.has(ref)) found.set(ref, row);
      }
    });
    return found;
  }

  /** Valid until a chunk is added. */
  sha256Of(ref: ChunkRef): Uint8Array {
    this.#check(ref);
    return this.#hashes.subarray(ref * sha256Bytes, (ref + 1) * sha256Bytes);
  }

  sizeOf(ref: ChunkRef): number {
    this.#check(ref);
    return this.#sizesBytes[ref]!;
  }

  needsRaw(ref: ChunkRef): boolean {
    this.#check(ref);
    return (this.#flags[ref]! & flag.needsRaw) !== 0;
  }

  /** The chunk with the same content that need not be raw; undefined for such a one itself. */
  twinOf(ref: ChunkRef): ChunkRef | undefined {
    return this.needsRaw(ref) ? this.#find(this.sha256Of(ref), false) : undefined;
  }

  /** Counts the uses anew, one for each number given: files may have been replaced since. */
  recount(refs: Iterable<ChunkRef>): void {
    this.#uses.fill(0);
    for (const ref of refs) {
      this.#check(ref);
      this.#uses[ref]! += 1;
    }
  }

  /** The chunks that the layer uses in the end. */
  *used(): Generator<ChunkRef, void> {
    for (let ref = 0; ref < this.#length; ref++) {
      if (this.#uses[ref]! > 0) yield ref;
    }
  }

  /** Those of them that are not in the index yet, but will be. */
  *written(): Generator<ChunkRef, void> {
    for (const ref of this.used()) {
      if (this.originOf(ref) === "written") yield ref;
    }
  }

  /** Those of them that the index has, or will have. */
  *indexed(): Generator<ChunkRef, void> {
    for (const ref of this.used()) {
      if (this.originOf(ref) !== "lazy") yield ref;
    }
  }

  usesOf(ref: ChunkRef): number {
    this.#check(ref);
    return this.#uses[ref]!;
  }

  storedOf(ref: ChunkRef): StoredChunk {
    return {
      place: this.placeOf(ref),
      encoding: this.#encodings[ref] as Encoding,
      blocks: this.#blocks[ref]!,
      extents: this.extentsOf(ref),
    };
  }

  /** As in `storedOf`, which makes an object. */
  placeOf(ref: ChunkRef): ChunkPlace {
    this.#check(ref);
    assert(this.isSettled(ref), "the place of a chunk is settled");
    return this.#places[ref]!;
  }

  /** As in `storedOf`. */
  extentsOf(ref: ChunkRef): Uint8Array | null {
    if ((this.#flags[ref]! & flag.hasExtents) === 0) return null;
    return this.#extents.bytesAt(this.#extentsAt[ref]!, this.#extentCount(ref));
  }

  /** Of its own; 0 for a member of a bundle. */
  blocksOf(ref: ChunkRef): number {
    return this.#blocks[ref]!;
  }

  /** Of the chunk, or of the bundle it is a member of. */
  blockOf(ref: ChunkRef): BlockAddress {
    return blockOfPlace(this.placeOf(ref));
  }

  originOf(ref: ChunkRef): ChunkOrigin {
    this.#check(ref);
    const flags = this.#flags[ref]!;
    if ((flags & flag.isLazy) !== 0) return "lazy";
    return (flags & flag.isWritten) === 0 ? "known" : "written";
  }

  #find(sha256: Uint8Array, needsRaw: boolean): ChunkRef | undefined {
    const wanted = needsRaw ? flag.needsRaw : 0;
    return this.#byContent.find(
      slotHash(sha256),
      (ref) => (this.#flags[ref]! & flag.needsRaw) === wanted && this.#hasHash(ref, sha256),
    );
  }

  #hasHash(ref: ChunkRef, sha256: Uint8Array): boolean {
    const start = ref * sha256Bytes;
    for (let at = 0; at < sha256Bytes; at++) {
      if (this.#hashes[start + at] !== sha256[at]) return false;
    }
    return true;
  }

  #extentCount(ref: ChunkRef): number {
    return Math.ceil(this.#sizesBytes[ref]! / extentBytesMax);
  }

  #check(ref: ChunkRef): void {
    assert(ref >= 0 && ref < this.#length, "a chunk of the layer");
  }

  #grow(rows: number): void {
    this.#hashes = grownColumn(this.#hashes, rows * sha256Bytes);
    this.#sizesBytes = grownColumn(this.#sizesBytes, rows);
    this.#uses = grownColumn(this.#uses, rows);
    this.#flags = grownColumn(this.#flags, rows);
    this.#places = grownColumn(this.#places, rows);
    this.#encodings = grownColumn(this.#encodings, rows);
    this.#blocks = grownColumn(this.#blocks, rows);
    this.#extentsAt = grownColumn(this.#extentsAt, rows);
  }
}

const slotKeys = crypto.getRandomValues(new Uint32Array(2));

/**
 * Content is chosen by others, who can find some with equal first bytes of its hash, but not so
 * that eight bytes meet under a key they do not know.
 */
function slotHash(sha256: Uint8Array): number {
  const first = wordAt(sha256, 0) ^ slotKeys[0]!;
  const second = wordAt(sha256, 4) ^ slotKeys[1]!;
  const mixed = Math.imul(first ^ (first >>> 15), slotKeys[1]! | 1) ^ second;
  return Math.imul(mixed ^ (mixed >>> 16), slotKeys[0]! | 1) >>> 0;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
