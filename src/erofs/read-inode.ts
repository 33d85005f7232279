/**
 * Reading an inode, checked: what later code computes with is in range.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import {
  blockSizeBytes,
  compactInodeSizeBytes,
  dataLayout,
  extendedInodeSizeBytes,
  inodeFormat,
  nanosecondsMax,
  slotSizeBytes,
  symlinkBytesMax,
  xattrHeaderSizeBytes,
  xattrUnitBytes,
} from "./format.ts";
import { type InodeRecord, readInodeRecord } from "./inode-record.ts";
import type { ErofsImage } from "./open-image.ts";
import { fileType } from "./tree.ts";

export interface ImageInode extends InodeRecord {
  readonly nid: number;
  /** Where the xattr body begins in the image. */
  readonly xattrOffsetBytes: number;
  /** Size of the xattr body; 0 without xattrs. */
  readonly xattrSizeBytes: number;
}

const readableLayouts: ReadonlySet<number> = new Set([
  dataLayout.flatPlain,
  dataLayout.compressedFull,
  dataLayout.flatInline,
  dataLayout.compressedCompact,
  dataLayout.chunkBased,
]);
/** The layouts of regular files alone. */
const fileLayouts: ReadonlySet<number> = new Set([
  dataLayout.compressedFull,
  dataLayout.compressedCompact,
  dataLayout.chunkBased,
]);
const knownTypes: ReadonlySet<number> = new Set(
  Object.values(fileType).filter((type) => type !== fileType.mask),
);

/** Throws FormatError. */
export function readInode(image: ErofsImage, nid: number): ImageInode {
  const { superblock, bytes } = image;
  const offset = superblock.metaBlock * blockSizeBytes + nid * slotSizeBytes;
  const isExtended =
    (bytes.view("EROFS inode", offset, 2).getUint16(0, true) & inodeFormat.extended) !== 0;
  const sizeOnDisk = isExtended ? extendedInodeSizeBytes : compactInodeSizeBytes;
  const view = bytes.view("EROFS inode", offset, sizeOnDisk);
  const record = readInodeRecord(view, superblock.epochSeconds, superblock.epochNanoseconds);
  const problem = inodeProblem(record, superblock.blocks * blockSizeBytes);
  if (problem !== undefined) throw new FormatError("EROFS inode", offset, problem);
  const { xattrCount } = record;
  const xattrSizeBytes =
    xattrCount === 0 ? 0 : xattrHeaderSizeBytes + (xattrCount - 1) * xattrUnitBytes;
  return { ...record, nid, xattrOffsetBytes: offset + sizeOnDisk, xattrSizeBytes };
}

export function isOfType(inode: InodeRecord, type: keyof typeof fileType): boolean {
  return (inode.mode & fileType.mask) === fileType[type];
}

function inodeProblem(inode: InodeRecord, imageBytes: number): string | undefined {
  const { layout, mode, sizeBytes } = inode;
  if (!readableLayouts.has(layout)) return `data layout ${layout}, which is not read here`;
  if (!knownTypes.has(mode & fileType.mask)) return `mode 0${mode.toString(8)} of no file type`;
  if (!Number.isSafeInteger(sizeBytes)) return `size of ${sizeBytes} bytes`;
  if (!Number.isSafeInteger(inode.mtimeSeconds)) return `time of ${inode.mtimeSeconds} s`;
  if (inode.mtimeNanoseconds > nanosecondsMax) return `time with ${inode.mtimeNanoseconds} ns`;
  if (isOfType(inode, "regular")) return undefined;
  if (fileLayouts.has(layout)) return "chunks in what is no regular file";
  if (sizeBytes > imageBytes) return `size of ${sizeBytes} bytes, more than the image`;
  if (isOfType(inode, "symlink") && (sizeBytes === 0 || sizeBytes > symlinkBytesMax)) {
    return `symlink target of ${sizeBytes} bytes`;
  }
  return undefined;
}
