/**
 * How the content of a compressed file is stored, extent by extent.
 *
 * @module
 */
import { type BlockOf, chunkAt, chunkCountOf, chunkLength } from "./chunk-map.ts";
import { contentBlocks, extentLength, type Packing } from "./compression.ts";
import type { ChunkedContent } from "./tree.ts";

/** Blocks in a row: raw where there are as many as of content. */
export interface StoredExtent {
  /** Unified address of the first one. */
  readonly block: number;
  readonly storedBlocks: number;
  /** Of content. */
  readonly blocks: number;
}

/** All of a file that is not in a bundle, in order. */
export function* storedExtents(
  content: ChunkedContent,
  sizeBytes: number,
  packing: Packing,
  blockOf: BlockOf,
): Generator<StoredExtent, void> {
  for (let index = 0; index < chunkCountOf(content); index++) {
    const chunk = chunkAt(content, index);
    if (packing.bundleOffsetOf(chunk) !== undefined) return;
    const chunkBytes = chunkLength(content, index, sizeBytes);
    const extentBlocks = packing.extentBlocksOf(chunk);
    let block = blockOf(chunk);
    if (extentBlocks === undefined) {
      const blocks = contentBlocks(chunkBytes);
      yield { block, storedBlocks: blocks, blocks };
      continue;
    }
    for (let at = 0; at < extentBlocks.length; at++) {
      const storedBlocks = extentBlocks[at]!;
      yield { block, storedBlocks, blocks: contentBlocks(extentLength(chunkBytes, at)) };
      block += storedBlocks;
    }
  }
}
