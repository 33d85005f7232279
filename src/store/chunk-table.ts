/**
 * The chunks of one layer while it is built.
 *
 * A tree refers to a chunk by its number in this table, so that the address can be settled last:
 * when the layer is published, another one may have stored the same content first.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { CompressionAlgorithm } from "../erofs/compression.ts";
import type { ChunkRef } from "../erofs/tree.ts";
import { defined } from "../util/assert.ts";
import { type ByteString, byteString, bytesOf } from "../util/byte-string.ts";
import { type BundleRow, type ChunkRow, findChunks, type StoredChunk } from "./index-database.ts";
import { type BlockAddress, blockOfPlace } from "./layout.ts";

/** Where a chunk of the layer is. */
export type ChunkOrigin =
  /** In the index, put there by an earlier layer. */
  | "known"
  /** Written by this layer, not in the index yet. */
  | "written";

interface Entry {
  readonly sha256: ByteString;
  readonly sizeBytes: number;
  /** Its file has holes, or nothing is compressed: it must lie in the pack as it is. */
  readonly needsRaw: boolean;
  uses: number;
  stored: StoredChunk | undefined;
  origin: ChunkOrigin;
}

export class ChunkTable {
  /** With which algorithm new content is compressed; undefined: not at all. */
  readonly algorithm: CompressionAlgorithm | undefined;
  /** Bundles that this layer wrote, by address. */
  readonly writtenBundles = new Map<BlockAddress, BundleRow>();
  readonly #entries: Entry[] = [];
  readonly #byContent = new Map<string, ChunkRef>();

  constructor(algorithm?: CompressionAlgorithm) {
    this.algorithm = algorithm;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** The number of a chunk that this layer has already, with one more use of it counted. */
  use(sha256: Uint8Array, needsRaw: boolean): ChunkRef | undefined {
    const ref = this.#byContent.get(keyOf(byteString(sha256), needsRaw));
    if (ref !== undefined) this.#entry(ref).uses += 1;
    return ref;
  }

  add(sha256: Uint8Array, sizeBytes: number, needsRaw: boolean): ChunkRef {
    const key = byteString(sha256);
    const ref = this.#entries.length;
    const origin = "known" as const;
    this.#entries.push({ sha256: key, sizeBytes, needsRaw, uses: 1, stored: undefined, origin });
    this.#byContent.set(keyOf(key, needsRaw), ref);
    return ref;
  }

  settle(ref: ChunkRef, stored: StoredChunk, origin: ChunkOrigin): void {
    const entry = this.#entry(ref);
    entry.stored = stored;
    entry.origin = origin;
  }

  /**
   * What the index has of these chunks in a form the layer can use, compressed rather than raw.
   */
  findKnown(database: Database, refs: readonly ChunkRef[]): Map<ChunkRef, ChunkRow> {
    const found = new Map<ChunkRef, ChunkRow>();
    const hashes = refs.map((ref) => this.sha256Of(ref));
    findChunks(database, hashes, (row) => {
      const sha256 = byteString(row.sha256);
      for (const needsRaw of [false, true]) {
        const ref = this.#byContent.get(keyOf(sha256, needsRaw));
        if (ref === undefined || (row.encoding !== 0 && needsRaw)) continue;
        if (row.encoding !== 0 && row.encoding !== this.algorithm) continue;
        if (row.encoding !== 0 || !found.has(ref)) found.set(ref, row);
      }
    });
    return found;
  }

  sha256Of(ref: ChunkRef): Uint8Array {
    return bytesOf(this.#entry(ref).sha256);
  }

  sizeOf(ref: ChunkRef): number {
    return this.#entry(ref).sizeBytes;
  }

  needsRaw(ref: ChunkRef): boolean {
    return this.#entry(ref).needsRaw;
  }

  /** The chunk with the same content that need not be raw; undefined for such a one itself. */
  twinOf(ref: ChunkRef): ChunkRef | undefined {
    const { needsRaw, sha256 } = this.#entry(ref);
    return needsRaw ? this.#byContent.get(keyOf(sha256, false)) : undefined;
  }

  /** Counts the uses anew, one for each number given: files may have been replaced since. */
  recount(refs: Iterable<ChunkRef>): void {
    for (const entry of this.#entries) entry.uses = 0;
    for (const ref of refs) this.#entry(ref).uses += 1;
  }

  /** The chunks that the layer uses in the end. */
  *used(): Generator<ChunkRef, void> {
    for (let ref = 0; ref < this.#entries.length; ref++) {
      if (this.usesOf(ref) > 0) yield ref;
    }
  }

  /** Those of them that are not in the index yet. */
  *written(): Generator<ChunkRef, void> {
    for (const ref of this.used()) {
      if (this.originOf(ref) === "written") yield ref;
    }
  }

  usesOf(ref: ChunkRef): number {
    return this.#entry(ref).uses;
  }

  storedOf(ref: ChunkRef): StoredChunk {
    return defined(this.#entry(ref).stored, `the place of chunk ${ref}`);
  }

  /** Of the chunk, or of the bundle it is a member of. */
  blockOf(ref: ChunkRef): BlockAddress {
    return blockOfPlace(this.storedOf(ref).place);
  }

  originOf(ref: ChunkRef): ChunkOrigin {
    return this.#entry(ref).origin;
  }

  #entry(ref: ChunkRef): Entry {
    return defined(this.#entries[ref], `chunk ${ref} of the layer`);
  }
}

function keyOf(sha256: ByteString, needsRaw: boolean): string {
  return needsRaw ? `${sha256}raw` : sha256;
}
