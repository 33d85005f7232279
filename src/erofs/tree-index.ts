/**
 * The tree as numbered inodes and sorted directories: what planning and writing walk over.
 *
 * Inodes are numbered so that the children of a directory follow each other, and the directories of
 * a subtree stay together; the numbers depend on names only, never on the order of insertion. Two
 * names with one `Inode` object get one number. The walk keeps its own stack, so a tree may be as
 * deep as it likes.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { type ByteString, compareByteStrings, displayName } from "../util/byte-string.ts";
import { nameBytesMax } from "./format.ts";
import type { Directory, Inode } from "./tree.ts";

export interface DirectoryIndex {
  /** Number of the directory's inode. */
  readonly inode: number;
  /** Undefined for the root, which is its own parent. */
  readonly parent: DirectoryIndex | undefined;
  /** Sorted bytewise, with `.` and `..`. */
  readonly names: readonly ByteString[];
  /** The number of the inode of each name. */
  readonly children: Uint32Array;
}

export interface TreeIndex {
  readonly inodes: readonly Inode[];
  /** As `st_nlink`: names of a file; 2 and the subdirectories of a directory. */
  readonly linkCounts: Uint32Array;
  /** By the number of their inode. */
  readonly directories: ReadonlyMap<number, DirectoryIndex>;
}

const selfName = "." as ByteString;
const parentName = ".." as ByteString;

/** Throws AppError `invalid_argument` for names and trees that Linux does not know either. */
export function indexTree(root: Directory): TreeIndex {
  const numbering = new Numbering();
  numbering.add(root);
  const directories = new Map<number, DirectoryIndex>();
  const pending: PendingDirectory[] = [{ directory: root, inode: 0, parent: undefined }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const subdirectories: PendingDirectory[] = [];
    const index = indexDirectory(next, numbering, subdirectories);
    directories.set(next.inode, index);
    while (subdirectories.length > 0) pending.push(subdirectories.pop()!);
  }
  const { inodes, linkCounts } = numbering;
  return { inodes, linkCounts: Uint32Array.from(linkCounts), directories };
}

/** A path of an inode, for messages; slow. */
export function pathOf(index: Pick<TreeIndex, "directories">, inode: number): string {
  for (const directory of index.directories.values()) {
    const entry = directory.children.findIndex(
      (child, at) => child === inode && !isDotName(directory.names[at]!),
    );
    if (entry >= 0) return pathOfEntry(directory, directory.names[entry]!);
  }
  return "/";
}

interface PendingDirectory {
  readonly directory: Directory;
  readonly inode: number;
  readonly parent: DirectoryIndex | undefined;
}

class Numbering {
  readonly inodes: Inode[] = [];
  readonly linkCounts: number[] = [];
  readonly #numbers = new Map<Inode, number>();

  numberOf(inode: Inode): number | undefined {
    return this.#numbers.get(inode);
  }

  add(inode: Inode): number {
    const number = this.inodes.push(inode) - 1;
    this.linkCounts.push(0);
    this.#numbers.set(inode, number);
    return number;
  }
}

/**
 * Numbers the children that are new. Each dirent counts as a link of what it points to, `.` and
 * `..` too: that is how the link count of a directory comes to 2 and its subdirectories.
 */
function indexDirectory(
  { directory, inode, parent }: PendingDirectory,
  numbering: Numbering,
  subdirectories: PendingDirectory[],
): DirectoryIndex {
  const names = [selfName, parentName, ...directory.entries.keys()].sort(compareByteStrings);
  const index = { inode, parent, names, children: new Uint32Array(names.length) };
  const parentInode = parent?.inode ?? inode;
  let dotNames = 0;
  for (let entry = 0; entry < names.length; entry++) {
    const name = names[entry]!;
    let number: number | undefined;
    if (isDotName(name)) {
      number = name === selfName ? inode : parentInode;
      dotNames++;
    } else {
      checkName(index, name);
      const child = directory.entries.get(name)!;
      number = numbering.numberOf(child);
      if (number === undefined) {
        number = numbering.add(child);
        if (child.type === "directory") {
          subdirectories.push({ directory: child, inode: number, parent: index });
        }
      } else if (child.type === "directory") {
        throw invalidName(index, name, "the directory has a second name");
      }
    }
    index.children[entry] = number;
    numbering.linkCounts[number]!++;
  }
  if (dotNames !== 2) throw invalidName(index, selfName, "the name is reserved");
  return index;
}

function isDotName(name: ByteString): boolean {
  return name === selfName || name === parentName;
}

function checkName(directory: DirectoryIndex, name: ByteString): void {
  if (name.length === 0 || name.length > nameBytesMax) {
    throw invalidName(directory, name, `a name has 1 to ${nameBytesMax} bytes`);
  }
  if (name.includes("/") || name.includes("\0")) {
    throw invalidName(directory, name, "a name has neither slash nor NUL");
  }
}

function invalidName(directory: DirectoryIndex, name: ByteString, problem: string): AppError {
  const path = pathOfEntry(directory, name);
  return new AppError("invalid_argument", `Cannot plan image: "${path}": ${problem}`);
}

function pathOfEntry(directory: DirectoryIndex, name: ByteString): string {
  const parts = [displayName(name)];
  for (let at = directory; at.parent !== undefined; at = at.parent) {
    const entry = at.parent.children.indexOf(at.inode);
    parts.push(displayName(at.parent.names[entry]!));
  }
  return `/${parts.reverse().join("/")}`;
}
