/**
 * Reads the content of chunks out of a pack, however it is stored there.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { closeSync, openSync, readSync } from "node:fs";
import { contentBlocks, extentLength } from "../erofs/compression.ts";
import { decodeExtent } from "../erofs/extent-codec.ts";
import { FormatError } from "../errors.ts";
import { type BundleRow, type ChunkRow, type Encoding, findBundles } from "./index-database.ts";
import {
  blockBytes,
  blockOfPlace,
  bundleOffsetOfPlace,
  packOffsetBytes,
  type BlockAddress,
} from "./layout.ts";

export class ChunkReader implements Disposable {
  readonly #database: Database;
  readonly #file: number;
  /** The latest bundle: chunks come in the order of their places. */
  #bundle: { readonly block: BlockAddress; readonly content: Uint8Array } | undefined;

  constructor(database: Database, packPath: string) {
    this.#database = database;
    this.#file = openSync(packPath, "r");
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  /** The content; undefined where it cannot be decompressed. */
  read(chunk: ChunkRow): Uint8Array | undefined {
    try {
      return chunk.blocks === 0 ? this.#readMember(chunk) : this.#readChunk(chunk);
    } catch (error) {
      if (error instanceof FormatError) return undefined;
      throw error;
    }
  }

  #readChunk({ place, extents, encoding, size_bytes: sizeBytes }: ChunkRow): Uint8Array {
    const first = blockOfPlace(place);
    if (extents === null) return this.#readRaw(first, sizeBytes);
    const content = Buffer.alloc(sizeBytes);
    let block = first;
    let done = 0;
    for (const [index, blocks] of extents.entries()) {
      const lengthBytes = extentLength(sizeBytes, index);
      content.set(this.#readExtent(block, blocks, encoding, lengthBytes), done);
      block += blocks;
      done += lengthBytes;
    }
    return content;
  }

  #readMember({ place, size_bytes: sizeBytes }: ChunkRow): Uint8Array | undefined {
    const block = blockOfPlace(place);
    if (this.#bundle?.block !== block) {
      let row: BundleRow | undefined;
      findBundles(this.#database, [block], (found) => (row = found));
      if (row === undefined) return undefined;
      const content = this.#readExtent(block, row.blocks, row.encoding, row.size_bytes);
      this.#bundle = { block, content };
    }
    const offset = bundleOffsetOfPlace(place);
    return this.#bundle.content.subarray(offset, offset + sizeBytes);
  }

  #readExtent(
    block: BlockAddress,
    blocks: number,
    encoding: Encoding,
    lengthBytes: number,
  ): Uint8Array {
    if (encoding === 0 || blocks === contentBlocks(lengthBytes)) {
      return this.#readRaw(block, lengthBytes);
    }
    return decodeExtent(encoding, this.#readRaw(block, blocks * blockBytes), lengthBytes);
  }

  #readRaw(block: BlockAddress, lengthBytes: number): Buffer {
    const bytes = Buffer.alloc(lengthBytes);
    const count = readSync(this.#file, bytes, 0, lengthBytes, packOffsetBytes(block));
    return bytes.subarray(0, count);
  }
}
