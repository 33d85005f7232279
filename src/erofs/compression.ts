/**
 * Compressed content, as this project stores it: *extents* of at most 128 KiB of content, each
 * compressed alone into whole blocks (EROFS calls that a physical cluster), or raw where that would
 * save no block. Compressed bytes lie right-aligned in their blocks with zeros before them
 * ("0padding"), so a decoder begins at the first byte that is not zero.
 *
 * @module
 */
import { blockSizeBytes } from "./format.ts";

/** By their numbers in `h_algorithmtype` (fs/erofs/erofs_fs.h). */
export const compressionAlgorithm = { deflate: 2, zstd: 3 } as const;
export type CompressionAlgorithm = (typeof compressionAlgorithm)[keyof typeof compressionAlgorithm];

/** Content of one extent at most; log2 is the window a decoder needs. */
export const extentBytesMax = 128 * 1024;
export const extentBytesMaxLog2 = 17;

/** Many small files stored as one extent; images refer to them as fragments. */
export interface Bundle {
  /** Unified address of its first block. */
  readonly block: number;
  readonly storedBlocks: number;
  /** Its content; whole blocks, at most `extentBytesMax`. */
  readonly sizeBytes: number;
}

/**
 * How the chunks of an image are stored. Asked while planning and again while writing, with the
 * same answers. A chunk that is neither in extents nor in a bundle is *plain*: raw blocks in a row.
 */
export interface Packing {
  readonly algorithm: CompressionAlgorithm;
  /**
   * The stored blocks of each extent of a chunk, which follow each other from its address on;
   * undefined where it has none. All extents but the last have `extentBytesMax` of content, and an
   * extent with as many blocks as its content is raw.
   */
  extentBlocksOf(chunk: number): Uint8Array | undefined;
  /** Where in its bundle a chunk begins, whose address is that of the bundle; else undefined. */
  bundleOffsetOf(chunk: number): number | undefined;
  bundleAt(block: number): Bundle;
}

export function contentBlocks(sizeBytes: number): number {
  return Math.ceil(sizeBytes / blockSizeBytes);
}

/** Bytes of content in extent `index` of `sizeBytes` of content. */
export function extentLength(sizeBytes: number, index: number): number {
  return Math.min(extentBytesMax, sizeBytes - index * extentBytesMax);
}
