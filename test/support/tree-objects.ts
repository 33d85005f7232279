/**
 * Trees as objects that hold each other, which tests write down and compare; the program's own are
 * columns. Two names with the same object are hard links.
 *
 * @module
 */
import { FileTree } from "../../src/erofs/file-tree.ts";
import type { InodeRef } from "../../src/erofs/inode-table.ts";
import type * as erofs from "../../src/erofs/tree.ts";
import type { ByteString } from "../../src/util/byte-string.ts";

export interface Directory extends erofs.Directory {
  /** In any order, without `.` and `..`. */
  readonly entries: Map<ByteString, Inode>;
}

export type Inode = Exclude<erofs.Inode, erofs.Directory> | Directory;

/** The tree as the program has it. Throws where it does. */
export function toFileTree(root: Directory): FileTree {
  const tree = new FileTree();
  const refs = new Map<Inode, InodeRef>();
  const pending: Directory[] = [];
  const add = (inode: Inode): InodeRef => {
    const known = refs.get(inode);
    if (known !== undefined) return known;
    const ref = tree.add(inode);
    refs.set(inode, ref);
    if (inode.type === "directory") pending.push(inode);
    return ref;
  };
  add(root);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [name, child] of next.entries) tree.link(add(next), name, add(child));
  }
  return tree;
}

/** The objects of a tree of the program. */
export function fromFileTree({ inodes, names, root }: FileTree): Directory {
  const made = new Map<InodeRef, Inode>();
  const pending: { ref: InodeRef; entries: Map<ByteString, Inode> }[] = [];
  const makeDirectory = (ref: InodeRef, inode: erofs.Directory): Directory => {
    const directory = { ...inode, entries: new Map<ByteString, Inode>() };
    pending.push({ ref, entries: directory.entries });
    return directory;
  };
  const make = (ref: InodeRef): Inode => {
    const inode = inodes.get(ref);
    const object =
      made.get(ref) ?? (inode.type === "directory" ? makeDirectory(ref, inode) : inode);
    made.set(ref, object);
    return object;
  };
  const top = makeDirectory(root, inodes.get(root) as erofs.Directory);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const name of names.of(next.ref)) {
      next.entries.set(names.textOf(name), make(names.inodeOf(name)));
    }
  }
  return top;
}
