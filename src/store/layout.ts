/**
 * The node's block address space.
 *
 * All content of the node lies in one space of 2^32 blocks of 4 KiB. The address of a block tells
 * its pack and its offset there, no table is needed, and a chunk has the same address in every
 * image that uses it: EROFS calls it `uniaddr` (fs/erofs/erofs_fs.h, struct erofs_deviceslot).
 *
 * - Below 2^31: ranges of 2^23 blocks (32 GiB). Range 0 is left to the metadata of an image, range
 *   `n` belongs to the *local* pack `n`, the sparse file `packs/<n>.pack`.
 * - From 2^31 on: *lazy* packs (ondemand/contract.ts), each of one layer, in size classes: four
 *   regions of 2^29 blocks, each cut in packs of one size. Their numbers go on from 512, class by
 *   class.
 *
 * Invariants: blocks are handed out in ascending order and never twice while the pack exists, so
 * nothing a mounted image reads is ever overwritten; the last pack number is left out, because
 * block 2^32 - 1 means "hole" in an EROFS block map.
 *
 * @module
 */
import { alignUp } from "../util/bytes.ts";

export const blockBytes = 4096;
/** Of a local pack. */
export const packBlocks = 2 ** 23;
export const packIdMin = 1;
/** Of local packs. */
export const packIdMax = 255;

/** Where lazy packs begin; also the block behind the last one a local pack can have. */
const lazyFirstBlock = 2 ** 31;
const lazyRegionBlocks = 2 ** 29;

/** Lazy packs of one size. */
export interface LazyClass {
  readonly packBlocks: number;
  readonly firstId: number;
  readonly lastId: number;
}

/** 128 MiB, 1 GiB, 8 GiB, 32 GiB; ascending. */
export const lazyClasses: readonly LazyClass[] = [
  { packBlocks: 2 ** 15, firstId: 512, lastId: 16_895 },
  { packBlocks: 2 ** 18, firstId: 16_896, lastId: 18_943 },
  { packBlocks: 2 ** 21, firstId: 18_944, lastId: 19_199 },
  { packBlocks: 2 ** 23, firstId: 19_200, lastId: 19_262 },
];

/** A layer with more content than this cannot be lazy. */
export const lazyBytesMax = 2 ** 23 * blockBytes;

export type BlockAddress = number;

export function isLazyPack(packId: number): boolean {
  return packId > packIdMax;
}

/** The class of a lazy pack; undefined for a number that no pack can have. */
function classOf(packId: number): LazyClass | undefined {
  return lazyClasses.find(({ firstId, lastId }) => packId >= firstId && packId <= lastId);
}

/** The smallest class with room for so much content; undefined beyond `lazyBytesMax`. */
export function lazyPackFor(contentBytes: number): LazyClass | undefined {
  return lazyClasses.find((one) => contentBytes <= one.packBlocks * blockBytes);
}

/** Whether the number can be that of a pack. */
export function isPackId(packId: number): boolean {
  return isLazyPack(packId)
    ? classOf(packId) !== undefined
    : Number.isInteger(packId) && packId >= packIdMin;
}

export function packBlocksOf(packId: number): number {
  return isLazyPack(packId) ? requireClass(packId).packBlocks : packBlocks;
}

export function packBytesOf(packId: number): number {
  return packBlocksOf(packId) * blockBytes;
}

export function packOfBlock(block: BlockAddress): number {
  if (block < lazyFirstBlock) return Math.floor(block / packBlocks);
  const region = Math.floor((block - lazyFirstBlock) / lazyRegionBlocks);
  const { firstId, packBlocks: blocks } = lazyClasses[region]!;
  return firstId + Math.floor((block % lazyRegionBlocks) / blocks);
}

export function firstBlockOfPack(packId: number): BlockAddress {
  if (!isLazyPack(packId)) return packId * packBlocks;
  const one = requireClass(packId);
  const regionBlock = lazyFirstBlock + lazyClasses.indexOf(one) * lazyRegionBlocks;
  return regionBlock + (packId - one.firstId) * one.packBlocks;
}

/** All blocks of a pack. */
export function blocksOfPack(packId: number): BlockRange {
  return { block: firstBlockOfPack(packId), count: packBlocksOf(packId) };
}

/** Where in its pack file a block lies. */
export function packOffsetBytes(block: BlockAddress): number {
  return (block - firstBlockOfPack(packOfBlock(block))) * blockBytes;
}

function requireClass(packId: number): LazyClass {
  const found = classOf(packId);
  if (found === undefined) throw new RangeError(`${packId} is no pack`);
  return found;
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

/** The places of all chunks of a pack: from the first number up to, not including, the second. */
export function placesOfPack(packId: number): readonly [ChunkPlace, ChunkPlace] {
  const { block, count } = blocksOfPack(packId);
  return [placeOf(block), placeOf(block + count)];
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
