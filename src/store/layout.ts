/**
 * The node's block address space.
 *
 * All content of the node lies in one space of 2^32 blocks of 4 KiB. The space is cut in ranges of
 * 2^23 blocks (32 GiB): range 0 is left to the metadata of an image, range `n` belongs to pack `n`,
 * the sparse file `packs/<n>.pack`. So the address of a block tells its pack and its offset, no
 * table is needed, and a chunk has the same address in every image that uses it: EROFS calls it
 * `uniaddr` (fs/erofs/erofs_fs.h, struct erofs_deviceslot).
 *
 * Invariants: blocks are handed out in ascending order and never twice while the pack exists, so
 * nothing a mounted image reads is ever overwritten; the last pack number is left out, because
 * block 2^32 - 1 means "hole" in an EROFS block map.
 *
 * @module
 */
import { alignUp } from "../util/bytes.ts";

export const blockBytes = 4096;
export const packBlocks = 2 ** 23;
export const packBytes = packBlocks * blockBytes;
export const packIdMin = 1;
export const packIdMax = 510;

export type BlockAddress = number;

export function packOfBlock(block: BlockAddress): number {
  return Math.floor(block / packBlocks);
}

export function firstBlockOfPack(packId: number): BlockAddress {
  return packId * packBlocks;
}

/** Where in its pack file a block lies. */
export function packOffsetBytes(block: BlockAddress): number {
  return (block % packBlocks) * blockBytes;
}

/** A bundle holds at most this much content, which is what a place can tell apart. */
const bundleBytesMax = 2 ** 17;

/**
 * Where a chunk lies, as one number: the block it begins at, or for a member of a bundle the first
 * block of the bundle, and where in its content the member begins. Ascending with the address; two
 * chunks never have the same place.
 */
export type ChunkPlace = number;

export function placeOf(block: BlockAddress, bundleOffsetBytes = 0): ChunkPlace {
  return block * bundleBytesMax + bundleOffsetBytes;
}

export function blockOfPlace(place: ChunkPlace): BlockAddress {
  return Math.floor(place / bundleBytesMax);
}

export function bundleOffsetOfPlace(place: ChunkPlace): number {
  return place % bundleBytesMax;
}

/** The place in front of which all chunks of lower packs are. */
export function firstPlaceOfPack(packId: number): ChunkPlace {
  return placeOf(firstBlockOfPack(packId));
}

export function blocksFor(sizeBytes: number): number {
  return alignUp(sizeBytes, blockBytes) / blockBytes;
}

/** `count` blocks from `block` on, all in one pack. */
export interface BlockRange {
  readonly block: BlockAddress;
  readonly count: number;
}

/** The same blocks in ascending order with neighbours of one pack joined. */
export function mergeRanges(ranges: readonly BlockRange[]): BlockRange[] {
  const merged: { block: number; count: number }[] = [];
  for (const range of ranges.toSorted((left, right) => left.block - right.block)) {
    const last = merged.at(-1);
    const joins =
      last !== undefined &&
      last.block + last.count === range.block &&
      packOfBlock(last.block) === packOfBlock(range.block);
    if (joins) last.count += range.count;
    else merged.push({ ...range });
  }
  return merged;
}
