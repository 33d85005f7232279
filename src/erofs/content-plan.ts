/**
 * Which data layout an inode gets, and what of its content goes where.
 *
 * @module
 */
import { assert } from "../util/assert.ts";
import {
  blockBitsFor,
  blockBitsOf,
  chunkAt,
  chunkCountFor,
  chunkCountOf,
  chunkLength,
  findRun,
  hasHole,
  indexMapBytes,
} from "./chunk-map.ts";
import { clusterMapBytes, compactIndexStart, fragmentMapBytes } from "./cluster-map.ts";
import { compactBlocksMax, encodeCompactIndex } from "./compact-index.ts";
import { contentBlocks } from "./compression.ts";
import type { ContentPlaces } from "./content-places.ts";
import { directorySizeBytes } from "./directory-blocks.ts";
import { blockMapEntrySizeBytes, blockSizeBytes, chunkFormat } from "./format.ts";
import { type DataLayout, dataLayout } from "./format.ts";
import type { InodeRef, InodeTable } from "./inode-table.ts";
import { storedExtents } from "./stored-extents.ts";
import { type ChunkedContent, holeChunk } from "./tree.ts";
import type { TreeIndex } from "./tree-index.ts";

export interface ContentPlan {
  readonly layout: DataLayout;
  /** Bytes that lie behind the inode and its xattrs. */
  readonly behindBytes: number;
  /** Blocks in the data area of the image, which decide `i_u` where there are any. */
  readonly dataBlocks: number;
  readonly union: number;
}

/** `i_size`. */
export function sizeBytesOf(index: TreeIndex, number: number): number {
  const inode = index.inodes[number]!;
  const { inodes } = index.tree;
  if (!inodes.isDirectory(inode)) return inodes.sizeOf(inode);
  return directorySizeBytes(index.directory(number).names);
}

/** `sizeBytes` is that of the inode, `headBytes` the size of it and its xattrs in the image. */
export function planContent(
  inodes: InodeTable,
  inode: InodeRef,
  sizeBytes: number,
  headBytes: number,
  places: ContentPlaces,
): ContentPlan {
  const device = inodes.deviceOf(inode);
  if (device !== undefined) return flat(device);
  if (sizeBytes === 0) return flat(0);
  const content = inodes.chunksOf(inode);
  if (content === undefined) return planOwnContent(sizeBytes, headBytes);
  if (!isPlain(content, places)) return planCompressed(sizeBytes, content, headBytes, places);
  const { blockOf, devices } = places;
  const run = findRun(sizeBytes, content, blockOf, devices);
  if (places.namesDevices) return planIndexes(sizeBytes, content, headBytes, run !== undefined);
  if (run !== undefined) return flat(run);
  const blockBits = blockBitsOf(sizeBytes, content);
  return {
    layout: dataLayout.chunkBased,
    behindBytes: chunkCountFor(sizeBytes, blockBits) * blockMapEntrySizeBytes,
    dataBlocks: 0,
    union: blockBits,
  };
}

/** A run is a single chunk, as large as it takes. */
function planIndexes(
  sizeBytes: number,
  content: ChunkedContent,
  headBytes: number,
  isRun: boolean,
): ContentPlan {
  const blockBits = isRun ? blockBitsFor(sizeBytes) : blockBitsOf(sizeBytes, content);
  return {
    layout: dataLayout.chunkBased,
    behindBytes: indexMapBytes(headBytes, chunkCountFor(sizeBytes, blockBits)),
    dataBlocks: 0,
    union: chunkFormat.indexes | blockBits,
  };
}

function isPlain(content: ChunkedContent, { packing }: ContentPlaces): boolean {
  if (packing === undefined) return true;
  for (let index = 0; index < chunkCountOf(content); index++) {
    const chunk = chunkAt(content, index);
    if (chunk === holeChunk) continue;
    if (packing.extentBlocksOf(chunk) !== undefined) return false;
    if (packing.bundleOffsetOf(chunk) !== undefined) return false;
  }
  return true;
}

/** Extents for each chunk; the last one, or the only one, may be a fragment. */
function planCompressed(
  sizeBytes: number,
  content: ChunkedContent,
  headBytes: number,
  places: ContentPlaces,
): ContentPlan {
  assert(!hasHole(content), "a file with compressed chunks has no holes");
  const count = chunkCountOf(content);
  let storedBlocks = 0;
  for (let index = 0; index < count; index++) {
    const chunkBytes = chunkLength(content, index, sizeBytes);
    const isLast = index === count - 1;
    storedBlocks += places.claim(chunkAt(content, index), chunkBytes, isLast);
  }
  const common = { dataBlocks: 0, union: storedBlocks };
  const index = compactIndexOf(sizeBytes, content, headBytes, places);
  if (index !== undefined) {
    const behindBytes = fragmentMapBytes(headBytes) + index.length;
    return { layout: dataLayout.compressedCompact, behindBytes, ...common };
  }
  const behindBytes =
    count === 1 && isInBundle(content, places)
      ? fragmentMapBytes(headBytes)
      : clusterMapBytes(headBytes, sizeBytes);
  return { layout: dataLayout.compressedFull, behindBytes, ...common };
}

/** Undefined for a file that has a full index, or is a fragment. */
export function compactIndexOf(
  sizeBytes: number,
  content: ChunkedContent,
  headBytes: number,
  { packing, blockOf }: Pick<ContentPlaces, "packing" | "blockOf">,
): Uint8Array | undefined {
  const blocks = contentBlocks(sizeBytes);
  if (packing === undefined || blocks > compactBlocksMax) return undefined;
  if (isInBundle(content, { packing })) return undefined;
  const extents = storedExtents(content, sizeBytes, packing, blockOf);
  return encodeCompactIndex(compactIndexStart(headBytes), blocks, extents);
}

/** Whether its end is, or all of it. */
function isInBundle(content: ChunkedContent, { packing }: Pick<ContentPlaces, "packing">): boolean {
  const last = chunkAt(content, chunkCountOf(content) - 1);
  return packing?.bundleOffsetOf(last) !== undefined;
}

function flat(union: number): ContentPlan {
  return { layout: dataLayout.flatPlain, behindBytes: 0, dataBlocks: 0, union };
}

/**
 * Content in the image itself. The rest behind the last whole block goes behind the inode, if
 * inode, xattrs and rest fit in one block together; the kernel reads a symlink target only there,
 * and the rest of other types only where it does not cross a block. If not, it gets a block of its
 * own.
 */
function planOwnContent(sizeBytes: number, headBytes: number): ContentPlan {
  const tailBytes = sizeBytes % blockSizeBytes;
  if (tailBytes === 0 || headBytes + tailBytes > blockSizeBytes) {
    return { ...flat(0), dataBlocks: Math.ceil(sizeBytes / blockSizeBytes) };
  }
  const dataBlocks = Math.floor(sizeBytes / blockSizeBytes);
  return { layout: dataLayout.flatInline, behindBytes: tailBytes, dataBlocks, union: 0 };
}
