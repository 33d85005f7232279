/**
 * Reading directories: every offset checked, the order too, because lookups depend on it.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { type ByteString, byteString } from "../util/byte-string.ts";
import { blockSizeBytes, direntField, direntSizeBytes, nameBytesMax } from "./format.ts";
import type { ErofsImage } from "./open-image.ts";
import { readOwnContent } from "./read-content.ts";
import type { ImageInode } from "./read-inode.ts";

export interface DirectoryEntry {
  readonly name: ByteString;
  readonly nid: number;
  /** As in include/linux/fs_types.h. */
  readonly fileType: number;
}

/** All entries in bytewise order, with `.` and `..`. Throws FormatError. */
export function* directoryEntries(
  image: ErofsImage,
  directory: ImageInode,
): Generator<DirectoryEntry, void> {
  let previous = "";
  for (let offset = 0; offset < directory.sizeBytes; offset += blockSizeBytes) {
    const lengthBytes = Math.min(blockSizeBytes, directory.sizeBytes - offset);
    const block = readOwnContent(image, directory, offset, lengthBytes);
    for (const entry of blockEntries(block, directory)) {
      if (entry.name <= previous) throw malformed(directory, "the names are not in order");
      previous = entry.name;
      yield entry;
    }
  }
}

function* blockEntries(block: Buffer, directory: ImageInode): Generator<DirectoryEntry, void> {
  const namesOffset = block.length < direntSizeBytes ? 0 : nameOffsetAt(block, 0);
  if (namesOffset === 0 || namesOffset % direntSizeBytes !== 0 || namesOffset > block.length) {
    throw malformed(directory, `a block whose names begin at ${namesOffset}`);
  }
  for (let dirent = 0; dirent < namesOffset; dirent += direntSizeBytes) {
    const isLast = dirent + direntSizeBytes === namesOffset;
    const start = nameOffsetAt(block, dirent);
    const end = isLast ? namesEnd(block, start) : nameOffsetAt(block, dirent + direntSizeBytes);
    const length = end - start;
    if (start < namesOffset || end > block.length || length < 1 || length > nameBytesMax) {
      throw malformed(directory, `a name from ${start} to ${end}`);
    }
    const name = byteString(block.subarray(start, end));
    if (name.includes("/") || name.includes("\0")) throw malformed(directory, "a name of no file");
    const nid = Number(block.readBigUInt64LE(dirent + direntField.nid));
    yield { name, nid, fileType: block.readUInt8(dirent + direntField.fileType) };
  }
}

function nameOffsetAt(block: Buffer, dirent: number): number {
  return block.readUInt16LE(dirent + direntField.nameOffset);
}

/** The last name ends at the first NUL or with the block. */
function namesEnd(block: Buffer, start: number): number {
  const end = block.indexOf(0, start);
  return end < 0 ? block.length : end;
}

function malformed(directory: ImageInode, problem: string): FormatError {
  const structure = `EROFS directory of nid ${directory.nid}`;
  return new FormatError(structure, directory.xattrOffsetBytes, problem);
}
