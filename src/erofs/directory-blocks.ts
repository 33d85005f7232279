/**
 * Directory content: blocks of entries, sorted by name through the whole directory.
 *
 * A block begins with its dirents (12 bytes each), the names follow in the same order without
 * separators; the first dirent's name offset so tells how many there are. What is left of a block
 * is zero, which is how the kernel finds the end of the last name. The last block is as long as its
 * content. The kernel looks names up by bisection, first over blocks, then within one, so the order
 * is part of the format.
 *
 * @module
 */
import type { ByteString } from "../util/byte-string.ts";
import { blockSizeBytes, direntField, direntSizeBytes } from "./format.ts";
import { fileType } from "./tree.ts";

/** Of `mode & fileType.mask`, the file type as a dirent has it (include/linux/fs_types.h). */
export function direntFileType(mode: number): number {
  switch (mode & fileType.mask) {
    case fileType.regular:
      return 1;
    case fileType.directory:
      return 2;
    case fileType.characterDevice:
      return 3;
    case fileType.blockDevice:
      return 4;
    case fileType.fifo:
      return 5;
    case fileType.socket:
      return 6;
    case fileType.symlink:
      return 7;
    default:
      return 0;
  }
}

/** How many of the names from `first` on share one block, and how many bytes they take. */
export interface DirectoryBlock {
  readonly first: number;
  readonly end: number;
  readonly sizeBytes: number;
}

export function packDirectoryBlock(names: readonly ByteString[], first: number): DirectoryBlock {
  let sizeBytes = 0;
  let end = first;
  while (end < names.length) {
    const grown = sizeBytes + direntSizeBytes + names[end]!.length;
    if (grown > blockSizeBytes) break;
    sizeBytes = grown;
    end++;
  }
  return { first, end, sizeBytes };
}

/** The size of a directory of these names, in bytes: whole blocks and what the last one holds. */
export function directorySizeBytes(names: readonly ByteString[]): number {
  let blocks = 0;
  let block = packDirectoryBlock(names, 0);
  while (block.end < names.length) {
    blocks++;
    block = packDirectoryBlock(names, block.end);
  }
  return blocks * blockSizeBytes + block.sizeBytes;
}

/** Writes one block at `at`; `nidOf` and `fileTypeOf` are asked with the index of a name. */
export function writeDirectoryBlock(
  bytes: Buffer,
  view: DataView,
  at: number,
  block: DirectoryBlock,
  names: readonly ByteString[],
  nidOf: (entry: number) => number,
  fileTypeOf: (entry: number) => number,
): void {
  let dirent = at;
  let nameOffset = (block.end - block.first) * direntSizeBytes;
  for (let entry = block.first; entry < block.end; entry++) {
    const name = names[entry]!;
    view.setUint32(dirent + direntField.nid, nidOf(entry), true);
    view.setUint16(dirent + direntField.nameOffset, nameOffset, true);
    view.setUint8(dirent + direntField.fileType, fileTypeOf(entry));
    bytes.write(name, at + nameOffset, "latin1");
    nameOffset += name.length;
    dirent += direntSizeBytes;
  }
}
