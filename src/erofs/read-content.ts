/**
 * Where the content of an inode lies, and reading what of it lies in the image itself.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { alignUp } from "../util/bytes.ts";
import { type ByteString, byteString } from "../util/byte-string.ts";
import {
  blockMapEntrySizeBytes,
  blockSizeBits,
  blockSizeBytes,
  chunkFormat,
  chunkIndexField,
  chunkIndexSizeBytes,
  dataLayout,
  holeAddress,
} from "./format.ts";
import type { ErofsImage } from "./open-image.ts";
import { clusterExtents, compactExtents } from "./read-clusters.ts";
import { type ImageInode, isOfType } from "./read-inode.ts";

interface ExtentRange {
  readonly fileOffsetBytes: number;
  readonly lengthBytes: number;
}

/** A range of a file, and where it lies. */
export type Extent =
  /** From the start of a block on; `ErofsImage.deviceMap` tells of which device. */
  | (ExtentRange & { readonly kind: "blocks"; readonly block: number })
  | (ExtentRange & { readonly kind: "hole" })
  /** One compressed extent: the end of its blocks, from the first byte on that is not zero. */
  | (ExtentRange & { readonly kind: "compressed"; readonly block: number; storedBlocks: number })
  /** A range of the packed inode. */
  | (ExtentRange & { readonly kind: "fragment"; readonly packedOffsetBytes: number })
  /** Behind the inode. */
  | (ExtentRange & { readonly kind: "inline"; readonly imageOffsetBytes: number });

/**
 * All of a file in order, without gaps: one extent for each chunk of a chunk-based file, and for
 * each compressed extent. Nothing for special files. Throws FormatError for addresses outside of
 * image and devices.
 */
export function* extentsOf(image: ErofsImage, inode: ImageInode): Generator<Extent, void> {
  if (inode.sizeBytes === 0 || isSpecial(inode)) return;
  if (inode.layout === dataLayout.chunkBased) yield* chunkExtents(image, inode);
  else if (inode.layout === dataLayout.compressedFull) yield* clusterExtents(image, inode);
  else if (inode.layout === dataLayout.compressedCompact) yield* compactExtents(image, inode);
  else yield* flatExtents(image, inode);
}

/**
 * Bytes of content that lies in the image itself. Throws FormatError where it does not, or where
 * the range goes past the end.
 */
export function readOwnContent(
  image: ErofsImage,
  inode: ImageInode,
  offsetBytes: number,
  lengthBytes: number,
): Buffer {
  const endBytes = offsetBytes + lengthBytes;
  if (endBytes > inode.sizeBytes || lengthBytes > image.superblock.blocks * blockSizeBytes) {
    throw malformed(inode, `no ${lengthBytes} bytes at ${offsetBytes}`);
  }
  const content = Buffer.alloc(lengthBytes);
  let done = 0;
  for (const extent of extentsOf(image, inode)) {
    const skipBytes = Math.max(0, offsetBytes - extent.fileOffsetBytes);
    const pieceBytes = Math.min(lengthBytes - done, extent.lengthBytes - skipBytes);
    if (pieceBytes <= 0) continue;
    const start = ownOffsetOf(image, inode, extent) + skipBytes;
    content.set(image.bytes.take("EROFS content", start, pieceBytes), done);
    done += pieceBytes;
  }
  return content;
}

/** Throws FormatError also for a target with NUL. */
export function symlinkTarget(image: ErofsImage, inode: ImageInode): ByteString {
  const target = byteString(readOwnContent(image, inode, 0, inode.sizeBytes));
  if (target.includes("\0")) throw malformed(inode, "a symlink target with NUL");
  return target;
}

function ownOffsetOf(image: ErofsImage, inode: ImageInode, extent: Extent): number {
  if (extent.kind === "inline") return extent.imageOffsetBytes;
  if (extent.kind === "blocks" && image.deviceMap.deviceOf(extent.block) === undefined) {
    return extent.block * blockSizeBytes;
  }
  throw malformed(inode, "content that must lie in the image does not");
}

function* flatExtents(image: ErofsImage, inode: ImageInode): Generator<Extent, void> {
  const { sizeBytes, layout, union: block } = inode;
  const tailBytes = layout === dataLayout.flatInline ? sizeBytes % blockSizeBytes : 0;
  const lengthBytes = sizeBytes - tailBytes;
  if (lengthBytes > 0) yield blocksExtent(image, inode, 0, lengthBytes, block);
  if (tailBytes === 0) return;
  const imageOffsetBytes = inode.xattrOffsetBytes + inode.xattrSizeBytes;
  if ((imageOffsetBytes % blockSizeBytes) + tailBytes > blockSizeBytes) {
    throw malformed(inode, "inline content crosses a block");
  }
  yield { kind: "inline", fileOffsetBytes: lengthBytes, lengthBytes: tailBytes, imageOffsetBytes };
}

function* chunkExtents(image: ErofsImage, inode: ImageInode): Generator<Extent, void> {
  const { sizeBytes, union: format } = inode;
  if ((format & ~(chunkFormat.blockBitsMask | chunkFormat.indexes)) !== 0) {
    throw malformed(inode, `unknown chunk format 0x${format.toString(16)}`);
  }
  const hasIndexes = (format & chunkFormat.indexes) !== 0;
  const entryBytes = hasIndexes ? chunkIndexSizeBytes : blockMapEntrySizeBytes;
  const mapOffset = alignUp(inode.xattrOffsetBytes + inode.xattrSizeBytes, entryBytes);
  const chunkBytes = 2 ** ((format & chunkFormat.blockBitsMask) + blockSizeBits);
  const count = Math.ceil(sizeBytes / chunkBytes);
  const mapEnd = mapOffset + count * entryBytes;
  if (mapEnd > image.superblock.blocks * blockSizeBytes) {
    throw malformed(inode, `a map of ${count} chunks goes past the image`);
  }
  for (let chunk = 0; chunk < count; chunk++) {
    const entry = image.bytes.view("EROFS block map", mapOffset + chunk * entryBytes, entryBytes);
    const block = hasIndexes ? indexedBlock(image, inode, entry) : entry.getUint32(0, true);
    const fileOffsetBytes = chunk * chunkBytes;
    const lengthBytes = Math.min(chunkBytes, sizeBytes - fileOffsetBytes);
    if (block === holeAddress) yield { kind: "hole", fileOffsetBytes, lengthBytes };
    else yield blocksExtent(image, inode, fileOffsetBytes, lengthBytes, block);
  }
}

/** The unified address that an index stands for. */
function indexedBlock({ devices }: ErofsImage, inode: ImageInode, index: DataView): number {
  const block = index.getUint32(chunkIndexField.block, true);
  const number = index.getUint16(chunkIndexField.device, true);
  if (number === 0 || block === holeAddress) return block;
  const device = devices[number - 1];
  if (device !== undefined) return device.uniaddr + block;
  throw malformed(inode, `there is no device ${number}`);
}

function blocksExtent(
  image: ErofsImage,
  inode: ImageInode,
  fileOffsetBytes: number,
  lengthBytes: number,
  block: number,
): Extent {
  if (!image.deviceMap.holds(block, Math.ceil(lengthBytes / blockSizeBytes))) {
    throw malformed(inode, `${lengthBytes} bytes at block ${block} lie in no device`);
  }
  return { kind: "blocks", fileOffsetBytes, lengthBytes, block };
}

function isSpecial(inode: ImageInode): boolean {
  return (
    !isOfType(inode, "regular") && !isOfType(inode, "directory") && !isOfType(inode, "symlink")
  );
}

function malformed(inode: ImageInode, problem: string): FormatError {
  return new FormatError(`EROFS content of nid ${inode.nid}`, inode.xattrOffsetBytes, problem);
}
