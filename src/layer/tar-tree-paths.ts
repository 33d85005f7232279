/**
 * The names of a growing tree: finding, making and taking away.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { nameBytesMax } from "../erofs/format.ts";
import type { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import type { TarEntry } from "../tar/entry.ts";
import type { ByteString } from "../util/byte-string.ts";
import type { TarInodes } from "./tar-inodes.ts";
import type { LowerLookup } from "./tar-lower.ts";
import { implicitDepthsMax } from "./tar-limits.ts";
import { pathError, PathResolver, type PathStep } from "./tar-path.ts";
import { opaqueXattr } from "./tar-whiteout.ts";

export class TreePaths {
  readonly tree: FileTree;
  /** Directories that no entry describes; they are there because something is in them. */
  readonly implicit = new Set<InodeRef>();
  /** Whether anything that was there has been taken away. */
  hasRemoved = false;
  readonly #resolver: PathResolver<InodeRef>;
  readonly #lower: LowerLookup;
  readonly #inodes: TarInodes;
  /** Entries come folder by folder, so the last folder is most often the next one. */
  #lastPath: string | undefined;
  #lastParent: InodeRef;
  /** Of all directories that no entry describes, together. */
  #implicitDepths = 0;

  constructor(tree: FileTree, lower: LowerLookup, inodes: TarInodes) {
    this.tree = tree;
    this.#lower = lower;
    this.#inodes = inodes;
    this.#lastParent = tree.root;
    this.#resolver = new PathResolver<InodeRef>({
      root: tree.root,
      isDirectory: (inode) => tree.inodes.isDirectory(inode),
      linkTarget: (inode) => tree.inodes.symlinkTarget(inode),
      child: (inode, name) => tree.child(inode, name),
    });
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

  /** Whether this layer shows nothing of those below at the end of a resolved path. */
  hidesLower(steps: readonly PathStep<InodeRef>[]): boolean {
    const inodes = [this.tree.root, ...steps.map(({ node }) => node)];
    const isOpaque = (inode: InodeRef) =>
      this.tree.inodes.xattrsOf(inode).some(({ name }) => name === opaqueXattr.name);
    return inodes.some((inode) => inode !== undefined && isOpaque(inode));
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
    this.#implicitDepths += steps.length;
    if (this.#implicitDepths > implicitDepthsMax) {
      throw new AppError("resource_exhausted", "too many directories have no entry of their own");
    }
    const directory = this.#inodes.makeParent(
      this.#lower.findDirectory(steps.map(({ name }) => name)),
      parent,
      entry,
    );
    this.implicit.add(directory);
    return directory;
  }
}
