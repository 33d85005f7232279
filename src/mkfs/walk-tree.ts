/**
 * The tree of a layer in the one order in which it is given to mkfs.erofs: equal trees make equal
 * images, whatever order they were read in.
 *
 * @module
 */
import type { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import type { NameRef } from "../erofs/name-table.ts";
import type { Inode } from "../erofs/tree.ts";
import { type ByteString, compareByteStrings } from "../util/byte-string.ts";
import { noteRows } from "../util/garbage.ts";

export interface TreeName {
  /** From the root, joined by slashes; the root itself is empty. */
  readonly path: ByteString;
  readonly ref: InodeRef;
  /** A copy. */
  readonly inode: Inode;
  /** The path that came first, for further names of a file. */
  readonly linkOf: ByteString | undefined;
}

interface Level {
  readonly prefix: string;
  readonly names: readonly NameRef[];
  next: number;
}

/** Every name of the tree, a directory before what it holds, names in bytewise order. */
export function* walkTree(tree: FileTree): Generator<TreeName, void> {
  const { root, inodes, names } = tree;
  const firstPaths = new Map<InodeRef, ByteString>();
  const levels: Level[] = [levelOf(tree, root, "")];
  yield { path: "" as ByteString, ref: root, inode: inodes.get(root), linkOf: undefined };
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.names[level.next++];
    if (name === undefined) {
      levels.pop();
      continue;
    }
    noteRows();
    const path = `${level.prefix}${names.textOf(name)}` as ByteString;
    const ref = names.inodeOf(name);
    yield { path, ref, inode: inodes.get(ref), linkOf: firstPaths.get(ref) };
    if (inodes.isDirectory(ref)) levels.push(levelOf(tree, ref, `${path}/`));
    else if (!firstPaths.has(ref)) firstPaths.set(ref, path);
  }
}

function levelOf({ names }: FileTree, directory: InodeRef, prefix: string): Level {
  const found = Array.from(names.of(directory), (name) => ({ name, text: names.textOf(name) }));
  found.sort((left, right) => compareByteStrings(left.text, right.text));
  return { prefix, names: found.map(({ name }) => name), next: 0 };
}
