/**
 * Writing what belongs to an inode: the tail or block map behind it, and its data blocks.
 *
 * @module
 */
import { assert, defined } from "../util/assert.ts";
import { bytesOf } from "../util/byte-string.ts";
import { blockMapOf } from "./chunk-map.ts";
import {
  type DirectoryBlock,
  direntFileType,
  packDirectoryBlock,
  writeDirectoryBlock,
} from "./directory-blocks.ts";
import { blockMapEntrySizeBytes, blockSizeBytes, dataLayout } from "./format.ts";
import type { ImageStream } from "./image-stream.ts";
import { type ImagePlan, layoutOf } from "./plan.ts";
import type { Inode } from "./tree.ts";
import type { DirectoryIndex } from "./tree-index.ts";

/** Writes what lies behind the inode and its xattrs. */
export function emitBehind(plan: ImagePlan, stream: ImageStream, number: number): void {
  const layout = layoutOf(plan.inodes, number);
  if (layout === dataLayout.flatInline) emitTail(plan, stream, number);
  else if (layout === dataLayout.chunkBased) emitBlockMap(plan, stream, number);
}

/** Writes the data area: the blocks of each inode that has any, by number. */
export function emitDataBlocks(plan: ImagePlan, stream: ImageStream): void {
  const startBytes = plan.dataBlock * blockSizeBytes;
  for (let number = 0; number < plan.inodes.dataBlocks.length; number++) {
    const count = plan.inodes.dataBlocks[number]!;
    if (count === 0) continue;
    stream.padTo(startBytes + plan.inodes.unions[number]! * blockSizeBytes);
    const directory = plan.index.directories.get(number);
    if (directory === undefined) {
      const content = contentOf(plan.index.inodes[number]!);
      stream.write(content.subarray(0, count * blockSizeBytes));
      continue;
    }
    let block = packDirectoryBlock(directory.names, 0);
    for (let written = 0; written < count; written++) {
      emitDirectoryBlock(plan, stream, directory, block, blockSizeBytes);
      block = packDirectoryBlock(directory.names, block.end);
    }
  }
}

function emitTail(plan: ImagePlan, stream: ImageStream, number: number): void {
  const blocks = plan.inodes.dataBlocks[number]!;
  const directory = plan.index.directories.get(number);
  if (directory === undefined) {
    stream.write(contentOf(plan.index.inodes[number]!).subarray(blocks * blockSizeBytes));
    return;
  }
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
    (entry) => direntFileType(index.inodes[children[entry]!]!.mode),
  );
}

function emitBlockMap({ index, options }: ImagePlan, stream: ImageStream, number: number): void {
  const file = index.inodes[number]!;
  assert(file.type === "file" && file.content.kind === "chunks", "only chunked files have a map");
  const map = blockMapOf(file, file.content, options.blockOf);
  for (let entry = 0; entry < map.entryCount; entry++) {
    const at = stream.claim(blockMapEntrySizeBytes);
    stream.view.setUint32(at, map.addressOf(entry), true);
  }
}

/** The content that lies in the image itself. */
function contentOf(inode: Inode): Uint8Array {
  if (inode.type === "symlink") return bytesOf(inode.target);
  const content = inode.type === "file" ? inode.content : undefined;
  return defined(content?.kind === "inline" ? content.bytes : undefined, "content in the image");
}
