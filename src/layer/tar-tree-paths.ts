/**
 * The names of a growing tree: finding, making and taking away.
 *
 * @module
 */
import { nameBytesMax } from "../erofs/format.ts";
import type { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import type { TarEntry } from "../tar/entry.ts";
import type { ByteString } from "../util/byte-string.ts";
import type { TarInodes } from "./tar-inodes.ts";
import type { LowerLookup } from "./tar-lower.ts";
import type { TarBudget } from "./tar-limits.ts";
import { pathError, PathResolver, type PathStep, type PathTree } from "./tar-path.ts";
import { opaqueXattr } from "./tar-whiteout.ts";

export class TreePaths {
  readonly tree: FileTree;
  /** Directories that no entry describes; they are there because something is in them. */
  readonly implicit = new Set<InodeRef>();
  /** Directories that show nothing of those below. */
  readonly #opaque = new Set<InodeRef>();
  /** Whether anything that was there has been taken away. */
  hasRemoved = false;
  readonly #resolver: PathResolver<InodeRef>;
  readonly #lower: LowerLookup;
  readonly #inodes: TarInodes;
  readonly #budget: TarBudget;
  /** Entries come folder by folder, so the last folder is most often the next one. */
  #lastPath: string | undefined;
  #lastParent: InodeRef;

  constructor(tree: FileTree, lower: LowerLookup, inodes: TarInodes, budget: TarBudget) {
    this.tree = tree;
    this.#lower = lower;
    this.#inodes = inodes;
    this.#budget = budget;
    this.#lastParent = tree.root;
    const pathTree: PathTree<InodeRef> = {
      root: tree.root,
      isDirectory: (inode) => tree.inodes.isDirectory(inode),
      linkTarget: (inode) => tree.inodes.symlinkTarget(inode),
      child: (inode, name) => tree.child(inode, name),
    };
    this.#resolver = new PathResolver(pathTree, (count) => budget.charge("steps", count));
  }

  resolve(names: readonly ByteString[]): PathStep<InodeRef>[] {
    return this.#resolver.resolve(names);
  }

  /** What is under a name at the end of a resolved path. */
  childOf(steps: readonly PathStep<InodeRef>[], name: ByteString): InodeRef | undefined {
    const last = steps.at(-1);
    const parent = last === undefined ? this.tree.root : last.node;
    if (name === "." || name === "..") return this.tree.root;
    if (parent === undefined) return undefined;
    if (!this.tree.inodes.isDirectory(parent)) {
      throw pathError("a part of the path is not a directory");
    }
    return this.tree.child(parent, name);
  }

  /** The directory of a cleaned path; what is missing of it is made. */
  parentOf(names: readonly ByteString[], entry: TarEntry): InodeRef {
    const path = names.join("/");
    if (path !== this.#lastPath) {
      this.#lastParent = this.#findParent(names, entry);
      this.#lastPath = path;
    }
    return this.#lastParent;
  }

  add(parent: InodeRef, name: ByteString, inode: InodeRef): void {
    if (name.length > nameBytesMax) throw pathError(`a name of ${name.length} bytes`);
    if (name.includes("\0")) throw pathError("a name with a NUL byte");
    this.#inodes.charge(name.length);
    this.tree.link(parent, name, inode);
  }

  remove(parent: InodeRef, name: ByteString): void {
    if (this.tree.unlink(parent, name)) this.noteRemoval();
  }

  /** To be called when something was taken away: a path may lead elsewhere than before. */
  noteRemoval(): void {
    this.hasRemoved = true;
    this.#lastPath = undefined;
  }

  /** The directory shows nothing of those below. */
  makeOpaque(directory: InodeRef): void {
    this.#inodes.addXattr(directory, opaqueXattr);
    this.#opaque.add(directory);
  }

  /** Whether this layer shows nothing of those below at the end of a resolved path. */
  hidesLower(steps: readonly PathStep<InodeRef>[]): boolean {
    const inodes = [this.tree.root, ...steps.map(({ node }) => node)];
    return inodes.some((inode) => inode !== undefined && this.#opaque.has(inode));
  }

  #findParent(names: readonly ByteString[], entry: TarEntry): InodeRef {
    const steps = this.#resolver.resolve(names);
    let parent = this.tree.root;
    for (const [index, { name, node }] of steps.entries()) {
      const next = node ?? this.#makeParent(steps.slice(0, index + 1), parent, entry);
      if (!this.tree.inodes.isDirectory(next)) throw pathError("its parent is not a directory");
      if (node === undefined) this.add(parent, name, next);
      parent = next;
    }
    return parent;
  }

  /** A directory like that of the layers below, so that it does not hide that one's attributes. */
  #makeParent(steps: readonly PathStep<InodeRef>[], parent: InodeRef, entry: TarEntry): InodeRef {
    this.#budget.charge("entries", 1);
    this.#budget.charge("implicitDepths", steps.length);
    const directory = this.#inodes.makeParent(
      this.#lower.findDirectory(steps.map(({ name }) => name)),
      parent,
      entry,
    );
    this.implicit.add(directory);
    return directory;
  }
}
