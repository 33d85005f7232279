/**
 * A layer as the directory that mkfs.erofs reads where it is too old for a tar (before 1.7).
 *
 * Not the directory of the snapshot: a container may still write to that, and mkfs.erofs follows
 * paths; and overlayfs has noted things in it that are none of the layer's.
 *
 * @module
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import { close, open, openDirectoryAt } from "../../ffi/file.ts";
import { makeNodeAt, setModificationTimeAt } from "../../ffi/node.ts";
import { setXattr } from "../../ffi/xattr.ts";
import type { Inode, RegularFile } from "../erofs/tree.ts";
import { describeError } from "../errors.ts";
import type { LayerTree } from "../layer/directory-tree.ts";
import { storageError } from "../store/pack-writer.ts";
import { defined } from "../util/assert.ts";
import { type ByteString, bytesOf } from "../util/byte-string.ts";
import type { ContentSpool } from "./content-spool.ts";
import { MkfsError } from "./run.ts";
import { type TreeName, walkTree } from "./walk-tree.ts";

interface OpenDirectory {
  readonly path: ByteString;
  readonly fd: number;
  readonly inode: Inode;
}

/**
 * Makes `folder`, with the whole tree in it. Throws MkfsError for what the file system of the root
 * has no room for, such as paths beyond PATH_MAX; `resource_exhausted` for a full disk.
 */
export function unpackTree({ tree }: LayerTree, spool: ContentSpool, folder: string): void {
  const unpacking = new Unpacking(spool, folder);
  try {
    for (const name of walkTree(tree)) unpacking.add(name);
    unpacking.finish();
  } catch (error) {
    const failure = storageError(`unpack a layer to "${folder}"`, error);
    throw failure.code === "resource_exhausted" ? failure : new MkfsError(describeError(failure));
  } finally {
    unpacking.close();
  }
}

class Unpacking {
  readonly #spool: ContentSpool;
  readonly #folder: string;
  /** From the root down to where the walk is. */
  readonly #open: OpenDirectory[] = [];

  constructor(spool: ContentSpool, folder: string) {
    this.#spool = spool;
    this.#folder = folder;
  }

  add({ path, inode, linkOf }: TreeName): void {
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1) as ByteString;
    const parent = path === "" ? undefined : this.#enter(path.slice(0, Math.max(slash, 0)));
    if (linkOf !== undefined) linkSync(this.#pathOf(linkOf), this.#pathOf(path));
    else if (inode.type === "directory") this.#makeDirectory(path, name, inode, parent);
    else this.#makeFile(path, name, inode, defined(parent, "the directory of a file").fd);
  }

  /** The attributes of directories come last: what is made in one changes its time. */
  finish(): void {
    while (this.#open.length > 0) this.#leave();
  }

  close(): void {
    for (const { fd } of this.#open.splice(0)) close(fd);
  }

  #enter(path: string): OpenDirectory {
    while (this.#open.at(-1)?.path !== path) this.#leave();
    return defined(this.#open.at(-1), "an open directory");
  }

  #leave(): void {
    const { path, fd, inode } = defined(this.#open.at(-1), "an open directory");
    this.#setAttributes(path, "." as ByteString, inode, fd);
    this.#open.pop();
    close(fd);
  }

  #makeDirectory(
    path: ByteString,
    name: ByteString,
    inode: Inode,
    parent: OpenDirectory | undefined,
  ): void {
    mkdirSync(this.#pathOf(path), { mode: 0o700 });
    const fd =
      parent === undefined
        ? open(this.#folder, openFlag.readOnly | openFlag.directory)
        : openDirectoryAt(parent.fd, name);
    this.#open.push({ path, fd, inode });
  }

  #makeFile(path: ByteString, name: ByteString, inode: Inode, dirFd: number): void {
    if (inode.type === "file") this.#writeFile(path, inode);
    if (inode.type === "symlink") symlinkSync(bytesOf(inode.target), this.#pathOf(path));
    if (inode.type === "special") {
      makeNodeAt(dirFd, name, inode.mode, inode.deviceMajor, inode.deviceMinor);
    }
    this.#setAttributes(path, name, inode, dirFd);
  }

  #writeFile(path: ByteString, inode: RegularFile): void {
    const file = openSync(this.#pathOf(path), "wx", 0o600);
    try {
      for (const { bytes, offsetBytes } of this.#spool.piecesOf(inode)) {
        if (bytes === undefined) continue;
        for (let at = 0; at < bytes.length;) {
          at += writeSync(file, bytes, at, bytes.length - at, offsetBytes + at);
        }
      }
      ftruncateSync(file, inode.sizeBytes);
    } finally {
      closeSync(file);
    }
  }

  /** In this order: a new owner takes capabilities and setuid away, an ACL changes the mode. */
  #setAttributes(path: ByteString, name: ByteString, inode: Inode, dirFd: number): void {
    const place = this.#pathOf(path);
    lchownSync(place, inode.uid, inode.gid);
    for (const xattr of inode.xattrs) setXattr(dirFd, name, xattr.name, xattr.value);
    if (inode.type !== "symlink") chmodSync(place, inode.mode & 0o7777);
    setModificationTimeAt(dirFd, name, inode.mtimeSeconds, inode.mtimeNanoseconds);
  }

  #pathOf(path: ByteString): Buffer {
    return Buffer.concat([Buffer.from(`${this.#folder}/`), bytesOf(path)]);
  }
}
