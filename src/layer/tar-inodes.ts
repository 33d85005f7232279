/**
 * The inodes of a layer's entries, with their content brought to where it belongs.
 *
 * @module
 */
import { symlinkBytesMax } from "../erofs/format.ts";
import type { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import {
  fileType,
  type Directory,
  type Inode,
  type InodeAttributes,
  noXattrs,
  type Xattr,
} from "../erofs/tree.ts";
import type { TarEntry } from "../tar/entry.ts";
import type { StoredContent } from "./file-content.ts";
import {
  deviceNumbers,
  idOf,
  mergeXattrs,
  plainDirectoryAttributes,
  setAttributes,
  setTime,
} from "./tar-attributes.ts";
import { objectBytes, type TarBudget, xattrListBytesMax } from "./tar-limits.ts";
import type { LowerDirectory, LowerFile } from "./tar-lower.ts";
import { pathError } from "./tar-path.ts";
import type { TreeSource } from "./tree-source.ts";
import { XattrLists } from "./xattr-lists.ts";

/** As a new inode has them before its entry's are set. */
const newAttributes = {
  uid: 0,
  gid: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: noXattrs,
} as const;

/** Replaced with the permissions of the entry, but for symlinks, which have all of them. */
const symlinkMode = fileType.symlink | 0o777;

const specialTypes = {
  "character device": fileType.characterDevice,
  "block device": fileType.blockDevice,
  fifo: fileType.fifo,
} as const;

export class TarInodes {
  /** Bytes of file content stored so far, holes left out. */
  contentBytes = 0;
  readonly #xattrLists: XattrLists;
  readonly #source: TreeSource;
  readonly #tree: FileTree;
  readonly #budget: TarBudget;
  readonly #copies = new Map<string, InodeRef>();

  constructor(source: TreeSource, tree: FileTree, budget: TarBudget) {
    this.#source = source;
    this.#tree = tree;
    this.#budget = budget;
    this.#xattrLists = new XattrLists((list) => this.charge(sizeOf(list)));
  }

  /** Counts what is kept in memory of the tar, besides the columns of inodes and names. */
  charge(sizeBytes: number): void {
    this.#budget.charge("metadataBytes", sizeBytes);
  }

  makeRoot({ mode, uid, gid }: Pick<Directory, "mode" | "uid" | "gid">): InodeRef {
    return this.#tree.add({ type: "directory", ...newAttributes, mode, uid, gid });
  }

  /** Anything but a hard link; reads the content of a file. */
  async make(entry: TarEntry): Promise<InodeRef> {
    const inode = await this.#makeBare(entry);
    this.#takeAttributes(inode, entry);
    return this.#tree.add(inode);
  }

  /** What the entry says of an inode; extended attributes come on top of those it has. */
  setAttributes(ref: InodeRef, entry: TarEntry): void {
    const inode = this.#tree.inodes.get(ref);
    this.#takeAttributes(inode, entry);
    this.#tree.inodes.setAttributes(ref, inode);
  }

  setTime(ref: InodeRef, time: Pick<TarEntry, "mtimeSeconds" | "mtimeNanoseconds">): void {
    const inode = this.#tree.inodes.get(ref);
    setTime(inode, time);
    this.#tree.inodes.setAttributes(ref, inode);
  }

  /** As overlayfs knows it: 0/0, no permissions. */
  makeWhiteout(entry: TarEntry): InodeRef {
    return this.#tree.add({
      type: "special",
      mode: fileType.characterDevice,
      uid: idOf(entry.uid, 0),
      gid: idOf(entry.gid, 0),
      mtimeSeconds: entry.mtimeSeconds,
      mtimeNanoseconds: entry.mtimeNanoseconds,
      xattrs: noXattrs,
      deviceMajor: 0,
      deviceMinor: 0,
    });
  }

  /** A directory that no entry describes, with the attributes of the one it covers. */
  makeParent(covered: LowerDirectory | undefined, parent: InodeRef, entry: TarEntry): InodeRef {
    if (covered === undefined) {
      const { inodes } = this.#tree;
      const like = { mode: inodes.modeOf(parent), gid: inodes.gidOf(parent) };
      return this.#tree.add({ type: "directory", ...plainDirectoryAttributes(like, entry) });
    }
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = covered;
    const xattrs = covered.xattrs.filter(({ name }) => !name.startsWith("trusted."));
    return this.#tree.add({
      type: "directory",
      mode,
      uid,
      gid,
      mtimeSeconds,
      mtimeNanoseconds,
      xattrs: this.#xattrLists.intern(xattrs),
    });
  }

  addXattr(ref: InodeRef, xattr: Xattr): void {
    const inode = this.#tree.inodes.get(ref);
    inode.xattrs = this.#xattrLists.intern(mergeXattrs(inode.xattrs, [xattr]));
    this.#tree.inodes.setAttributes(ref, inode);
  }

  /** A file of the layers below as one of this layer; the same for the same path. */
  async copy(file: LowerFile, path: string): Promise<InodeRef> {
    const known = this.#copies.get(path);
    if (known !== undefined) return known;
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = file;
    const xattrs = this.#xattrLists.intern(file.xattrs);
    this.charge(path.length + objectBytes);
    const attributes = { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
    const inode = this.#tree.add(await this.#copyOf(file, attributes));
    this.#copies.set(path, inode);
    return inode;
  }

  async #copyOf(file: LowerFile, attributes: InodeAttributes): Promise<Inode> {
    switch (file.type) {
      case "file": {
        const { sizeBytes } = file;
        const content = await this.#keep(this.#source.copy(file.content, sizeBytes));
        return { type: "file", ...attributes, sizeBytes, content };
      }
      case "symlink":
        return { type: "symlink", ...attributes, target: file.target };
      default: {
        const { deviceMajor, deviceMinor } = file;
        return { type: "special", ...attributes, deviceMajor, deviceMinor };
      }
    }
  }

  async #makeBare(entry: TarEntry): Promise<Inode> {
    switch (entry.type) {
      case "directory":
        return { type: "directory", ...newAttributes, mode: fileType.directory };
      case "file": {
        const { sizeBytes } = entry;
        const content = await this.#keep(this.#source.content(sizeBytes));
        return { type: "file", ...newAttributes, mode: fileType.regular, sizeBytes, content };
      }
      case "symlink": {
        const target = entry.linkName;
        if (target === "" || target.length > symlinkBytesMax) {
          throw pathError(`a symlink with a target of ${target.length} bytes`);
        }
        this.charge(target.length);
        return { type: "symlink", ...newAttributes, mode: symlinkMode, target };
      }
      case "character device":
      case "block device":
      case "fifo": {
        const mode = specialTypes[entry.type];
        return { type: "special", ...newAttributes, mode, ...deviceNumbers(entry) };
      }
      default:
        throw pathError(`entries of type "${entry.flag}" are unknown`);
    }
  }

  #takeAttributes(inode: Inode, entry: TarEntry): void {
    setAttributes(inode, entry, this.#xattrLists);
    const { xattrs } = inode;
    if (xattrs.length === 0) return;
    const sizeBytes = xattrs.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
    if (sizeBytes > xattrListBytesMax) throw pathError(`${sizeBytes} bytes of extended attributes`);
    // A long list is merged, told apart and checked each time that anything of the inode is set.
    this.#budget.charge("steps", Math.ceil(sizeOf(xattrs) / objectBytes));
  }

  async #keep(stored: Promise<StoredContent>) {
    const { content, contentBytes } = await stored;
    if (content.kind === "chunks" && typeof content.chunks !== "number") this.charge(objectBytes);
    this.contentBytes += contentBytes;
    return content;
  }
}

/** In memory. */
function sizeOf(xattrs: readonly Xattr[]): number {
  return xattrs.reduce(
    (sum, { name, value }) => sum + objectBytes + name.length + value.length,
    objectBytes,
  );
}
