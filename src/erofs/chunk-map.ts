/**
 * The addresses of a chunked file: one run of blocks, or an address for each chunk.
 *
 * A file whose chunks follow each other in one device needs no index at all: the flat layout takes
 * a unified address as well as any other block (`erofs_map_dev` resolves it). Everything else is
 * chunk-based with a block map: 4 bytes for each chunk, all ones for a hole. Where devices are
 * named (`PlanOptions.namesDevices`), all files are chunk-based, with 8 bytes for each chunk.
 *
 * @module
 */
import { AssertionError } from "../util/assert.ts";
import { alignUp } from "../util/bytes.ts";
import type { DeviceMap } from "./device-map.ts";
import { blockSizeBits, blockSizeBytes, chunkFormat } from "./format.ts";
import { chunkIndexSizeBytes, holeAddress } from "./format.ts";
import { type ChunkedContent, type ChunkRef, holeChunk } from "./tree.ts";

/** Unified address of the first block of a chunk; the same answer each time. */
export type BlockOf = (chunk: ChunkRef) => number;

export const chunkedBlockBitsMax = chunkFormat.blockBitsMask;

export function chunkCountOf({ chunks }: ChunkedContent): number {
  return typeof chunks === "number" ? 1 : chunks.length;
}

/** Bytes of content in chunk `index` of a file of `sizeBytes`. */
export function chunkLength(content: ChunkedContent, index: number, sizeBytes: number): number {
  return Math.min(content.chunkSizeBytes, sizeBytes - index * content.chunkSizeBytes);
}

/**
 * The address of the whole file where its chunks lie in a row, undefined otherwise. Asserts that
 * each chunk lies in one device.
 */
export function findRun(
  sizeBytes: number,
  content: ChunkedContent,
  blockOf: BlockOf,
  devices: DeviceMap,
): number | undefined {
  const blocksPerChunk = content.chunkSizeBytes / blockSizeBytes;
  const blocks = Math.ceil(sizeBytes / blockSizeBytes);
  let start: number | undefined;
  let isRun = true;
  for (let chunk = 0, block = 0; block < blocks; chunk++, block += blocksPerChunk) {
    const ref = chunkAt(content, chunk);
    if (ref === holeChunk) {
      isRun = false;
      continue;
    }
    const address = blockOf(ref);
    const chunkBlocks = Math.min(blocksPerChunk, blocks - block);
    if (devices.deviceOf(address) === undefined || !devices.holds(address, chunkBlocks)) {
      throw new AssertionError(`chunk ${ref} at block ${address} lies in no device of the image`);
    }
    start ??= address - block;
    isRun &&= address === start + block;
  }
  return isRun && start !== undefined && devices.holds(start, blocks) ? start : undefined;
}

/** log2 of the blocks of a chunk, for a file of which all is one chunk. */
export function blockBitsFor(sizeBytes: number): number {
  const bits = Math.ceil(Math.log2(sizeBytes / blockSizeBytes));
  return Math.min(chunkedBlockBitsMax, Math.max(0, bits));
}

/** The same for a file that is no run. Where all is hole, chunks are as large as can be. */
export function blockBitsOf(sizeBytes: number, content: ChunkedContent): number {
  if (isAllHole(content)) return blockBitsFor(sizeBytes);
  return Math.max(0, Math.log2(content.chunkSizeBytes) - blockSizeBits);
}

export function chunkCountFor(sizeBytes: number, blockBits: number): number {
  return Math.ceil(sizeBytes / 2 ** (blockBits + blockSizeBits));
}

/** What indexes take behind an inode whose head ends there. */
export function indexMapBytes(headBytes: number, count: number): number {
  return alignUp(headBytes, chunkIndexSizeBytes) - headBytes + count * chunkIndexSizeBytes;
}

/** The unified addresses of chunks of that size, in order; `holeAddress` for holes. */
export function* addressesOf(
  sizeBytes: number,
  content: ChunkedContent,
  blockBits: number,
  blockOf: BlockOf,
): Generator<number, void> {
  const mapChunkBytes = 2 ** (blockBits + blockSizeBits);
  for (let at = 0; at < sizeBytes; at += mapChunkBytes) {
    const ref = chunkAt(content, Math.floor(at / content.chunkSizeBytes));
    yield ref === holeChunk ? holeAddress : blockOf(ref);
  }
}

export function chunkAt({ chunks }: ChunkedContent, index: number): ChunkRef {
  return typeof chunks === "number" ? chunks : chunks[index]!;
}

export function hasHole({ chunks }: ChunkedContent): boolean {
  return typeof chunks === "number" ? chunks === holeChunk : chunks.includes(holeChunk);
}

function isAllHole({ chunks }: ChunkedContent): boolean {
  if (typeof chunks === "number") return chunks === holeChunk;
  for (const chunk of chunks) if (chunk !== holeChunk) return false;
  return true;
}
