/**
 * Writing what belongs to an inode: the tail or block map behind it, and its data blocks.
 *
 * @module
 */
import { defined } from "../util/assert.ts";
import { alignUp } from "../util/bytes.ts";
import { bytesOf } from "../util/byte-string.ts";
import { addressesOf, chunkAt, chunkCountOf, chunkLength } from "./chunk-map.ts";
import { ClusterMapWriter } from "./cluster-map.ts";
import { contentBlocks, type Packing } from "./compression.ts";
import { compactIndexOf } from "./content-plan.ts";
import {
  type DirectoryBlock,
  direntFileType,
  packDirectoryBlock,
  writeDirectoryBlock,
} from "./directory-blocks.ts";
import { blockMapEntrySizeBytes, blockSizeBytes, chunkFormat } from "./format.ts";
import { chunkIndexField, chunkIndexSizeBytes, dataLayout } from "./format.ts";
import type { ImageStream } from "./image-stream.ts";
import { inodeSizeBytes } from "./inode-record.ts";
import type { PackedPlan } from "./packed-plan.ts";
import { type ImagePlan, layoutOf } from "./plan.ts";
import { storedExtents } from "./stored-extents.ts";
import type { ChunkedContent, ChunkRef } from "./tree.ts";
import type { DirectoryIndex } from "./tree-index.ts";

/** Writes what lies behind the inode and its xattrs. */
export function emitBehind(plan: ImagePlan, stream: ImageStream, number: number): void {
  const layout = layoutOf(plan.inodes, number);
  if (layout === dataLayout.flatInline) emitTail(plan, stream, number);
  else if (layout === dataLayout.chunkBased) emitBlockMap(plan, stream, number);
  else if (layout === dataLayout.compressedFull) emitClusterMap(plan, stream, number);
  else if (layout === dataLayout.compressedCompact) emitCompactMap(plan, stream, number);
}

/** Writes the map of the packed inode. */
export function emitPackedMap(plan: ImagePlan, packed: PackedPlan, stream: ImageStream): void {
  const map = new ClusterMapWriter(stream);
  map.startFull(defined(plan.algorithm, "the algorithm of bundles"), undefined);
  for (const { block, storedBlocks, sizeBytes } of packed.bundles) {
    map.writeExtent({ block, storedBlocks, blocks: contentBlocks(sizeBytes) });
  }
}

/** Writes the data area: the blocks of each inode that has any, by number. */
export function emitDataBlocks(plan: ImagePlan, stream: ImageStream): void {
  const startBytes = plan.dataBlock * blockSizeBytes;
  for (let number = 0; number < plan.inodes.dataBlocks.length; number++) {
    const count = plan.inodes.dataBlocks[number]!;
    if (count === 0) continue;
    stream.padTo(startBytes + plan.inodes.unions[number]! * blockSizeBytes);
    if (!isDirectory(plan, number)) {
      stream.write(ownContentOf(plan, number).subarray(0, count * blockSizeBytes));
      continue;
    }
    const directory = plan.index.directory(number);
    let block = packDirectoryBlock(directory.names, 0);
    for (let written = 0; written < count; written++) {
      emitDirectoryBlock(plan, stream, directory, block, blockSizeBytes);
      block = packDirectoryBlock(directory.names, block.end);
    }
  }
}

function emitTail(plan: ImagePlan, stream: ImageStream, number: number): void {
  const blocks = plan.inodes.dataBlocks[number]!;
  if (!isDirectory(plan, number)) {
    stream.write(ownContentOf(plan, number).subarray(blocks * blockSizeBytes));
    return;
  }
  const directory = plan.index.directory(number);
  let block = packDirectoryBlock(directory.names, 0);
  for (let passed = 0; passed < blocks; passed++) {
    block = packDirectoryBlock(directory.names, block.end);
  }
  emitDirectoryBlock(plan, stream, directory, block, block.sizeBytes);
}

function emitDirectoryBlock(
  { index, inodes }: ImagePlan,
  stream: ImageStream,
  { names, children }: DirectoryIndex,
  block: DirectoryBlock,
  roomBytes: number,
): void {
  const at = stream.claim(roomBytes);
  writeDirectoryBlock(
    stream.buffer,
    stream.view,
    at,
    block,
    names,
    (entry) => inodes.nids[children[entry]!]!,
    (entry) => direntFileType(index.tree.inodes.modeOf(index.inodes[children[entry]!]!)),
  );
}

function emitBlockMap(plan: ImagePlan, stream: ImageStream, number: number): void {
  const { content, sizeBytes } = chunkedFileOf(plan, number);
  const format = plan.inodes.unions[number]!;
  const hasIndexes = (format & chunkFormat.indexes) !== 0;
  if (hasIndexes) stream.padTo(alignUp(stream.positionBytes, chunkIndexSizeBytes));
  const blockBits = format & chunkFormat.blockBitsMask;
  for (const address of addressesOf(sizeBytes, content, blockBits, plan.options.blockOf)) {
    if (hasIndexes) {
      emitIndex(plan, stream, address);
      continue;
    }
    const at = stream.claim(blockMapEntrySizeBytes);
    stream.view.setUint32(at, address, true);
  }
}

function emitIndex({ options: { devices } }: ImagePlan, stream: ImageStream, address: number) {
  const at = stream.claim(chunkIndexSizeBytes);
  const device = devices.findIndex(
    ({ uniaddr, blocks }) => address >= uniaddr && address < uniaddr + blocks,
  );
  const block = device < 0 ? address : address - devices[device]!.uniaddr;
  stream.view.setUint16(at + chunkIndexField.device, device + 1, true);
  stream.view.setUint32(at + chunkIndexField.block, block, true);
}

function emitClusterMap(plan: ImagePlan, stream: ImageStream, number: number): void {
  const { content, sizeBytes } = chunkedFileOf(plan, number);
  const packing = defined(plan.options.packing, "the packing of a compressed file");
  const count = chunkCountOf(content);
  const packedOffset = packedOffsetOf(plan, packing, chunkAt(content, count - 1));
  const map = new ClusterMapWriter(stream);
  if (count === 1 && packedOffset !== undefined) {
    map.writeFragment(packedOffset);
    return;
  }
  map.startFull(packing.algorithm, packedOffset);
  for (const extent of storedExtents(content, sizeBytes, packing, plan.options.blockOf)) {
    map.writeExtent(extent);
  }
  if (packedOffset === undefined) return;
  map.writeTail(packedOffset, contentBlocks(chunkLength(content, count - 1, sizeBytes)));
}

function emitCompactMap(plan: ImagePlan, stream: ImageStream, number: number): void {
  const { content, sizeBytes } = chunkedFileOf(plan, number);
  const { packing, blockOf } = plan.options;
  const xattrs = plan.index.tree.inodes.xattrsOf(plan.index.inodes[number]!);
  const headBytes =
    inodeSizeBytes(plan.inodes.isExtended[number] === 1) + plan.xattrs.bodyBytes(xattrs);
  const index = compactIndexOf(sizeBytes, content, headBytes, { packing, blockOf });
  const { algorithm } = defined(packing, "the packing of a compressed file");
  new ClusterMapWriter(stream).writeCompact(algorithm, defined(index, "the index as planned"));
}

/** Where in the packed inode a chunk lies; undefined for one that is in no bundle. */
function packedOffsetOf(
  { options, packed }: ImagePlan,
  packing: Packing,
  chunk: ChunkRef,
): number | undefined {
  const bundleOffset = packing.bundleOffsetOf(chunk);
  if (bundleOffset === undefined) return undefined;
  return defined(packed, "the packed inode").startOf(options.blockOf(chunk)) + bundleOffset;
}

function chunkedFileOf(
  { index }: ImagePlan,
  number: number,
): { readonly sizeBytes: number; readonly content: ChunkedContent } {
  const { inodes } = index.tree;
  const inode = index.inodes[number]!;
  const content = defined(inodes.chunksOf(inode), "the chunks of a file that has a map");
  return { content, sizeBytes: inodes.sizeOf(inode) };
}

function isDirectory({ index }: ImagePlan, number: number): boolean {
  return index.tree.inodes.isDirectory(index.inodes[number]!);
}

/** The content that lies in the image itself. */
function ownContentOf({ index }: ImagePlan, number: number): Uint8Array {
  const inode = index.inodes[number]!;
  const target = index.tree.inodes.symlinkTarget(inode);
  if (target !== undefined) return bytesOf(target);
  return defined(index.tree.inodes.inlineOf(inode), "content in the image");
}
