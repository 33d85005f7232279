/**
 * How a file was cut into chunks, from the chunks it has.
 *
 * @module
 */
import { blockBytes } from "../store/layout.ts";
import { chunkUse, type ChunkUse } from "../store/chunk-sink.ts";
import type { FilePiece } from "../store/layer-files.ts";
import { assert } from "../util/assert.ts";
import { MiB } from "../util/bytes.ts";

export interface ChunkShape {
  /** A power of two; every chunk lies at a multiple of it and is not longer. */
  readonly chunkSizeBytes: number;
  readonly hasHole: boolean;
}

/** Larger than any chunk size that can be configured. */
const chunkSizeBytesMax = 64 * MiB;

/**
 * All chunks but one at the end of the file have the size of a chunk. Where only that one is there,
 * behind holes, its offset is a multiple of the size, and any power of two that divides it will do.
 */
export function shapeOf(pieces: Iterable<FilePiece>, sizeBytes: number): ChunkShape | "inline" {
  let hasHole = false;
  let whole: number | undefined;
  let last: { offset: number; length: number } | undefined;
  for (const piece of pieces) {
    if (piece.kind === "inline") return "inline";
    assert(piece.kind !== "lazy", "content in a lazy pack is stored anew");
    if (piece.kind !== "chunk") {
      hasHole = true;
      continue;
    }
    const { fileOffsetBytes: offset } = piece;
    const length = piece.chunk.size_bytes;
    if (offset + length < sizeBytes) whole = length;
    else last = { offset, length };
  }
  if (sizeBytes === 0) return "inline";
  return { chunkSizeBytes: whole ?? chunkSizeOf(last, sizeBytes), hasHole };
}

function chunkSizeOf(
  last: { offset: number; length: number } | undefined,
  sizeBytes: number,
): number {
  if (last === undefined || last.offset === 0) return powerOfTwoFrom(sizeBytes);
  let size = powerOfTwoFrom(last.length);
  while (size < chunkSizeBytesMax && last.offset % (2 * size) === 0) size *= 2;
  return size;
}

function powerOfTwoFrom(sizeBytes: number): number {
  return Math.max(blockBytes, 2 ** Math.ceil(Math.log2(sizeBytes)));
}

/** What the chunks are to the sink, as when the file first came (layer/file-content.ts). */
export function usesOf({ hasHole }: ChunkShape, count: number): ChunkUse {
  if (count === 1) return chunkUse.whole;
  return hasHole ? chunkUse.sparse : chunkUse.dense;
}
