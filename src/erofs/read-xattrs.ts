/**
 * Reading the xattrs of an inode, inline and shared.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { compareByteStrings } from "../util/byte-string.ts";
import {
  blockSizeBytes,
  xattrEntryField,
  xattrEntrySizeBytes,
  xattrHeaderField,
  xattrHeaderSizeBytes,
  xattrUnitBytes,
} from "./format.ts";
import type { ErofsImage } from "./open-image.ts";
import type { ImageInode } from "./read-inode.ts";
import { noXattrs, type Xattr } from "./tree.ts";
import { joinXattrName, xattrEntryTotalBytes } from "./xattr-format.ts";

/** Sorted by name. Throws FormatError. */
export function readXattrs(image: ErofsImage, inode: ImageInode): readonly Xattr[] {
  const { xattrOffsetBytes: bodyOffset, xattrSizeBytes: bodyBytes } = inode;
  if (bodyBytes === 0) return noXattrs;
  const bodyEnd = bodyOffset + bodyBytes;
  const body = image.bytes.view("EROFS xattrs", bodyOffset, bodyBytes);
  const sharedCount = body.getUint8(xattrHeaderField.sharedCount);
  const inlineOffset = xattrHeaderSizeBytes + sharedCount * xattrUnitBytes;
  if (inlineOffset > bodyBytes) {
    throw new FormatError("EROFS xattrs", bodyOffset, `${sharedCount} shared ids do not fit`);
  }
  const sharedStart = image.superblock.xattrBlock * blockSizeBytes;
  const xattrs: Xattr[] = [];
  for (let at = xattrHeaderSizeBytes; at < inlineOffset; at += xattrUnitBytes) {
    const id = body.getUint32(at, true);
    xattrs.push(readEntry(image, sharedStart + id * xattrUnitBytes, Infinity).xattr);
  }
  for (let offset = bodyOffset + inlineOffset; offset < bodyEnd;) {
    const { xattr, endOffset } = readEntry(image, offset, bodyEnd);
    xattrs.push(xattr);
    offset = endOffset;
  }
  xattrs.sort((left, right) => compareByteStrings(left.name, right.name));
  const isTwice = xattrs.some(({ name }, at) => name === xattrs[at - 1]?.name);
  if (isTwice) throw new FormatError("EROFS xattrs", bodyOffset, "a name is there twice");
  return xattrs;
}

function readEntry(
  image: ErofsImage,
  offset: number,
  limit: number,
): { xattr: Xattr; endOffset: number } {
  const structure = "EROFS xattr entry";
  const head = image.bytes.view(structure, offset, xattrEntrySizeBytes);
  const nameLength = head.getUint8(xattrEntryField.nameLength);
  const valueBytes = head.getUint16(xattrEntryField.valueSizeBytes, true);
  const endOffset = offset + xattrEntryTotalBytes(nameLength, valueBytes);
  if (endOffset > limit) throw new FormatError(structure, offset, "goes past its inode's xattrs");
  const start = offset + xattrEntrySizeBytes;
  const content = image.bytes.take(structure, start, nameLength + valueBytes);
  const nameIndex = head.getUint8(xattrEntryField.nameIndex);
  const name = joinXattrName(nameIndex, content.subarray(0, nameLength));
  if (name === undefined) throw new FormatError(structure, offset, `name of prefix ${nameIndex}`);
  return { xattr: { name, value: new Uint8Array(content.subarray(nameLength)) }, endOffset };
}
