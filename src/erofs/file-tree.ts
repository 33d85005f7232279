/**
 * The tree of a layer: inodes, and names that lead to them from the root.
 *
 * What no name leads to any more keeps its place in memory, but is not part of the tree: numbers of
 * inodes and names stay what they are.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { assert } from "../util/assert.ts";
import { ByteSlabs } from "../util/byte-slabs.ts";
import { type ByteString, displayName } from "../util/byte-string.ts";
import { nameBytesMax } from "./format.ts";
import { type ByteStore, type InodeRef, InodeTable } from "./inode-table.ts";
import { NameTable } from "./name-table.ts";
import type { Inode } from "./tree.ts";

export class FileTree {
  readonly inodes: InodeTable;
  readonly names = new NameTable();

  /** @param inline keeps the content of small files; in memory, if it is left out */
  constructor(inline: ByteStore = new ByteSlabs()) {
    this.inodes = new InodeTable(inline);
  }

  /** The first inode that is added. */
  get root(): InodeRef {
    return 0;
  }

  /** An inode without a name yet. Throws AppError `invalid_argument` for what Linux has not. */
  add(inode: Inode): InodeRef {
    return this.inodes.add(inode);
  }

  /**
   * Gives an inode a name, or one more; what had the name before loses it. Throws AppError
   * `invalid_argument` for a name that Linux does not know either.
   */
  link(directory: InodeRef, name: ByteString, inode: InodeRef): void {
    assert(this.inodes.isDirectory(directory), "names are in directories");
    checkName(name);
    this.names.set(directory, name, inode);
  }

  /** Whether there was something of that name. */
  unlink(directory: InodeRef, name: ByteString): boolean {
    return this.names.remove(directory, name);
  }

  /** What has the name in the directory; undefined also where that is none. */
  child(directory: InodeRef, name: ByteString): InodeRef | undefined {
    return this.names.find(directory, name);
  }
}

function checkName(name: ByteString): void {
  if (name.length === 0 || name.length > nameBytesMax) {
    throw invalidName(name, `a name has 1 to ${nameBytesMax} bytes`);
  }
  if (name === "." || name === "..") throw invalidName(name, "the name is reserved");
  if (name.includes("/") || name.includes("\0")) {
    throw invalidName(name, "a name has neither slash nor NUL");
  }
}

function invalidName(name: ByteString, problem: string): AppError {
  return new AppError("invalid_argument", `Cannot name a file "${displayName(name)}": ${problem}`);
}
