/**
 * The tree of a layer in the one order in which it is given to mkfs.erofs: equal trees make equal
 * images, whatever order they were read in.
 *
 * @module
 */
import type { Directory, Inode } from "../erofs/tree.ts";
import { type ByteString, compareByteStrings } from "../util/byte-string.ts";

export interface TreeName {
  /** From the root, joined by slashes; the root itself is empty. */
  readonly path: ByteString;
  readonly inode: Inode;
  /** The path that came first, for further names of a file. */
  readonly linkOf: ByteString | undefined;
}

interface Level {
  readonly prefix: string;
  readonly directory: Directory;
  readonly names: readonly ByteString[];
  next: number;
}

/** Every name of the tree, a directory before what it holds, names in bytewise order. */
export function* walkTree(root: Directory): Generator<TreeName, void> {
  const firstPaths = new Map<Inode, ByteString>();
  const levels: Level[] = [levelOf(root, "")];
  yield { path: "" as ByteString, inode: root, linkOf: undefined };
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.names[level.next++];
    const inode = name === undefined ? undefined : level.directory.entries.get(name);
    if (inode === undefined) {
      levels.pop();
      continue;
    }
    const path = `${level.prefix}${name}` as ByteString;
    const linkOf = firstPaths.get(inode);
    yield { path, inode, linkOf };
    if (inode.type === "directory") levels.push(levelOf(inode, `${path}/`));
    else firstPaths.set(inode, path);
  }
}

function levelOf(directory: Directory, prefix: string): Level {
  return {
    prefix,
    directory,
    names: [...directory.entries.keys()].sort(compareByteStrings),
    next: 0,
  };
}
