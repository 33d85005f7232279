/**
 * The names of a growing tree: finding, making and taking away.
 *
 * @module
 */
import { nameBytesMax } from "../erofs/format.ts";
import type { Directory, Inode } from "../erofs/tree.ts";
import type { TarEntry } from "../tar/entry.ts";
import type { ByteString } from "../util/byte-string.ts";
import type { TarInodes } from "./tar-inodes.ts";
import type { LowerLookup } from "./tar-lower.ts";
import { pathError, PathResolver, type PathStep } from "./tar-path.ts";
import { opaqueXattr } from "./tar-whiteout.ts";

export class TreePaths {
  readonly root: Directory;
  /** Directories that no entry describes; they are there because something is in them. */
  readonly implicit = new Set<Directory>();
  /** Whether anything that was there has been taken away. */
  hasRemoved = false;
  readonly #resolver: PathResolver<Inode>;
  readonly #lower: LowerLookup;
  readonly #inodes: TarInodes;
  /** Entries come folder by folder, so the last folder is most often the next one. */
  #lastPath: string | undefined;
  #lastParent: Directory;

  constructor(root: Directory, lower: LowerLookup, inodes: TarInodes) {
    this.root = root;
    this.#lower = lower;
    this.#inodes = inodes;
    this.#lastParent = root;
    this.#resolver = new PathResolver<Inode>({
      root,
      isDirectory: (inode) => inode.type === "directory",
      linkTarget: (inode) => (inode.type === "symlink" ? inode.target : undefined),
      child: (inode, name) => (inode.type === "directory" ? inode.entries.get(name) : undefined),
    });
  }

  resolve(names: readonly ByteString[]): PathStep<Inode>[] {
    return this.#resolver.resolve(names);
  }

  /** What is under a name at the end of a resolved path. */
  childOf(steps: readonly PathStep<Inode>[], name: ByteString): Inode | undefined {
    const last = steps.at(-1);
    const parent = last === undefined ? this.root : last.node;
    if (name === "." || name === "..") return this.root;
    if (parent !== undefined && parent.type !== "directory") {
      throw pathError("a part of the path is not a directory");
    }
    return parent?.entries.get(name);
  }

  /** The directory of a cleaned path; what is missing of it is made. */
  parentOf(names: readonly ByteString[], entry: TarEntry): Directory {
    const path = names.join("/");
    if (path !== this.#lastPath) {
      this.#lastParent = this.#findParent(names, entry);
      this.#lastPath = path;
    }
    return this.#lastParent;
  }

  add(parent: Directory, name: ByteString, inode: Inode): void {
    if (name.length > nameBytesMax) throw pathError(`a name of ${name.length} bytes`);
    if (name.includes("\0")) throw pathError("a name with a NUL byte");
    this.#inodes.charge(name.length);
    parent.entries.set(name, inode);
  }

  remove(parent: Directory, name: ByteString): void {
    if (parent.entries.delete(name)) this.noteRemoval();
  }

  /** To be called when something was taken away: a path may lead elsewhere than before. */
  noteRemoval(): void {
    this.hasRemoved = true;
    this.#lastPath = undefined;
  }

  /** Whether this layer shows nothing of those below at the end of a resolved path. */
  hidesLower(steps: readonly PathStep<Inode>[]): boolean {
    const inodes = [this.root, ...steps.map(({ node }) => node)];
    return inodes.some((inode) => inode?.xattrs.some(({ name }) => name === opaqueXattr.name));
  }

  #findParent(names: readonly ByteString[], entry: TarEntry): Directory {
    const steps = this.#resolver.resolve(names);
    let parent = this.root;
    for (const [index, { name, node }] of steps.entries()) {
      const next = node ?? this.#makeParent(steps.slice(0, index + 1), parent, entry);
      if (next.type !== "directory") throw pathError("its parent is not a directory");
      if (node === undefined) this.add(parent, name, next);
      parent = next;
    }
    return parent;
  }

  /** A directory like that of the layers below, so that it does not hide that one's attributes. */
  #makeParent(steps: readonly PathStep<Inode>[], parent: Directory, entry: TarEntry): Directory {
    const directory = this.#inodes.makeParent(
      this.#lower.findDirectory(steps.map(({ name }) => name)),
      parent,
      entry,
    );
    this.implicit.add(directory);
    return directory;
  }
}
