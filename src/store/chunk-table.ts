/**
 * The chunks of one layer while it is built.
 *
 * A tree refers to a chunk by its number in this table, so that the address can be settled last:
 * when the layer is published, another one may have stored the same content first.
 *
 * @module
 */
import { defined } from "../util/assert.ts";
import type { ByteString } from "../util/byte-string.ts";
import { byteString, bytesOf } from "../util/byte-string.ts";
import type { ChunkRef } from "../erofs/tree.ts";
import type { BlockAddress } from "./layout.ts";

/** Where a chunk of the layer is. */
export type ChunkOrigin =
  /** In the index, put there by an earlier layer. */
  | "known"
  /** Written by this layer, not in the index yet. */
  | "written";

interface Entry {
  readonly sha256: ByteString;
  readonly sizeBytes: number;
  uses: number;
  block: BlockAddress;
  origin: ChunkOrigin;
}

/** A block address that was not settled yet. */
const unsettled = -1;

export class ChunkTable {
  readonly #entries: Entry[] = [];
  readonly #bySha256 = new Map<ByteString, ChunkRef>();

  get length(): number {
    return this.#entries.length;
  }

  /** The number of a chunk that this layer has already, with one more use of it counted. */
  use(sha256: Uint8Array): ChunkRef | undefined {
    const ref = this.#bySha256.get(byteString(sha256));
    if (ref !== undefined) this.#entry(ref).uses += 1;
    return ref;
  }

  add(sha256: Uint8Array, sizeBytes: number): ChunkRef {
    const key = byteString(sha256);
    const ref = this.#entries.length;
    const entry = { sha256: key, sizeBytes, uses: 1, block: unsettled, origin: "known" as const };
    this.#entries.push(entry);
    this.#bySha256.set(key, ref);
    return ref;
  }

  settle(ref: ChunkRef, block: BlockAddress, origin: ChunkOrigin): void {
    const entry = this.#entry(ref);
    entry.block = block;
    entry.origin = origin;
  }

  find(sha256: Uint8Array): ChunkRef | undefined {
    return this.#bySha256.get(byteString(sha256));
  }

  sha256Of(ref: ChunkRef): Uint8Array {
    return bytesOf(this.#entry(ref).sha256);
  }

  sizeOf(ref: ChunkRef): number {
    return this.#entry(ref).sizeBytes;
  }

  usesOf(ref: ChunkRef): number {
    return this.#entry(ref).uses;
  }

  blockOf(ref: ChunkRef): BlockAddress {
    return this.#entry(ref).block;
  }

  originOf(ref: ChunkRef): ChunkOrigin {
    return this.#entry(ref).origin;
  }

  #entry(ref: ChunkRef): Entry {
    return defined(this.#entries[ref], `chunk ${ref} of the layer`);
  }
}
