/**
 * Gathers small chunks into bundles, in the order they come: files of one directory lie together.
 *
 * @module
 */
import { extentBytesMax } from "../erofs/compression.ts";
import type { ChunkRef } from "../erofs/tree.ts";
import { assert } from "../util/assert.ts";
import { alignUp, KiB } from "../util/bytes.ts";
import { blockBytes } from "./layout.ts";

/**
 * A larger chunk is compressed alone. In a bundle it would save the half block that its last extent
 * wastes on average, but reading any of its bytes decompresses the bundle.
 */
export const bundledBytesMax = 32 * KiB;

export interface FullBundle {
  /** The members one behind the other, and zeros up to the next block. */
  readonly content: Uint8Array;
  readonly members: readonly { readonly ref: ChunkRef; readonly offsetBytes: number }[];
}

export class BundleBuilder {
  #content = Buffer.alloc(extentBytesMax);
  #members: { ref: ChunkRef; offsetBytes: number }[] = [];
  #usedBytes = 0;

  /** Takes a copy of the chunk; returns the bundle that had no room for it. */
  add(ref: ChunkRef, bytes: Uint8Array): FullBundle | undefined {
    assert(bytes.length <= bundledBytesMax, "only small chunks are bundled");
    const full = this.#usedBytes + bytes.length > extentBytesMax ? this.take() : undefined;
    this.#content.set(bytes, this.#usedBytes);
    this.#members.push({ ref, offsetBytes: this.#usedBytes });
    this.#usedBytes += bytes.length;
    return full;
  }

  /** What was gathered so far; undefined for nothing. */
  take(): FullBundle | undefined {
    if (this.#members.length === 0) return undefined;
    const content = this.#content.subarray(0, alignUp(this.#usedBytes, blockBytes));
    const bundle = { content, members: this.#members };
    this.#content = Buffer.alloc(extentBytesMax);
    this.#members = [];
    this.#usedBytes = 0;
    return bundle;
  }
}
