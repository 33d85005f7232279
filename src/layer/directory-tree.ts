/**
 * Reads the upper directory of a snapshot into a tree, and its content into the chunk store.
 *
 * A container may still be writing to the directory, and may be hostile. So every step goes by the
 * descriptor of the directory it is in and follows no symlink, depth is bounded, no path length is,
 * and a file is read as it was when it was opened: what changes meanwhile is an error, never a
 * mixture.
 *
 * @module
 */
import { readSync } from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import { readDirectory } from "../../ffi/directory.ts";
import {
  close,
  open,
  openDirectoryAt,
  openRegularAt,
  readLinkAt,
  seekData,
} from "../../ffi/file.ts";
import { statAt, statOf, type FileStatus } from "../../ffi/status.ts";
import { listXattrs } from "../../ffi/xattr.ts";
import { AppError, describeError } from "../errors.ts";
import { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import { fileType, type FileContent, type Inode, type Xattr } from "../erofs/tree.ts";
import { defined } from "../util/assert.ts";
import { compareByteStrings, displayName, type ByteString } from "../util/byte-string.ts";
import { noteRows } from "../util/garbage.ts";
import { type ContentOptions, type ContentSource, storeContent } from "./file-content.ts";
import { XattrLists } from "./xattr-lists.ts";

/** A directory is open on every level of the way down; far more than PATH_MAX lets anyone use. */
const depthMax = 2_100;
export interface LayerTree {
  readonly tree: FileTree;
  /** Bytes of file content, hard links once, holes left out. */
  readonly contentBytes: number;
}

interface Frame {
  readonly fd: number;
  readonly name: string;
  readonly directory: InodeRef;
  readonly names: readonly ByteString[];
  next: number;
}

/** Reads the whole directory; rejects with the path of what could not be read. */
export function readTree(path: string, options: ContentOptions): Promise<LayerTree> {
  return new TreeReader(options).read(path);
}

class TreeReader {
  readonly #options: ContentOptions;
  readonly #frames: Frame[] = [];
  readonly #hardLinks = new Map<bigint, InodeRef>();
  readonly #xattrs = new XattrLists();
  readonly #tree: FileTree;
  #device: string | undefined;
  #contentBytes = 0;

  constructor(options: ContentOptions) {
    this.#options = options;
    this.#tree = new FileTree(options.inline);
  }

  async read(path: string): Promise<LayerTree> {
    try {
      this.#enter(open(path, openFlag.readOnly | openFlag.directory), path);
      for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
        const name = frame.names[frame.next++];
        if (name === undefined) this.#leave();
        else await this.#readEntry(frame, name);
        noteRows();
      }
      return { tree: this.#tree, contentBytes: this.#contentBytes };
    } catch (error) {
      const code = error instanceof AppError ? error.code : "internal";
      throw new AppError(code, `Cannot read layer at "${this.#where()}": ${describeError(error)}`, {
        cause: error,
      });
    } finally {
      while (this.#frames.length > 0) this.#leave();
    }
  }

  /** Takes over the descriptor. */
  #enter(fd: number, name: string): InodeRef {
    try {
      const status = statOf(fd);
      this.#device ??= deviceOf(status);
      const directory = this.#tree.add({
        type: "directory",
        ...attributesOf(status),
        xattrs: this.#xattrs.intern(listXattrs(fd, "." as ByteString)),
      });
      const names = readDirectory(fd).map((entry) => entry.name);
      names.sort(compareByteStrings);
      this.#frames.push({ fd, name, directory, names, next: 0 });
      return directory;
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  #leave(): void {
    close(defined(this.#frames.pop(), "the open directory").fd);
  }

  #where(): string {
    return this.#frames.map((frame) => frame.name).join("/");
  }

  async #readEntry(frame: Frame, name: ByteString): Promise<void> {
    const status = statAt(frame.fd, name);
    if (deviceOf(status) !== this.#device) {
      throw new AppError("failed_precondition", `"${displayName(name)}" is on another file system`);
    }
    const type = status.mode & fileType.mask;
    if (type === fileType.directory) {
      if (this.#frames.length >= depthMax) {
        throw new AppError("invalid_argument", `directories are more than ${depthMax} deep`);
      }
      const fd = openDirectoryAt(frame.fd, name);
      this.#tree.link(frame.directory, name, this.#enter(fd, displayName(name)));
      return;
    }
    const linked = status.linkCount > 1 ? this.#hardLinks.get(status.inode) : undefined;
    const inode = linked ?? this.#tree.add(await this.#readInode(frame.fd, name, status));
    if (status.linkCount > 1) this.#hardLinks.set(status.inode, inode);
    this.#tree.link(frame.directory, name, inode);
  }

  async #readInode(dirFd: number, name: ByteString, status: FileStatus): Promise<Inode> {
    const xattrs = this.#xattrs.intern(listXattrs(dirFd, name));
    const common = { ...attributesOf(status), xattrs };
    switch (status.mode & fileType.mask) {
      case fileType.regular:
        refuseMetacopy(name, xattrs);
        return {
          type: "file",
          ...common,
          sizeBytes: status.sizeBytes,
          content: await this.#readContent(dirFd, name, status),
        };
      case fileType.symlink:
        return { type: "symlink", ...common, target: readLinkAt(dirFd, name) };
      default:
        return {
          type: "special",
          ...common,
          deviceMajor: status.nodeMajor,
          deviceMinor: status.nodeMinor,
        };
    }
  }

  async #readContent(dirFd: number, name: ByteString, seen: FileStatus): Promise<FileContent> {
    if (seen.sizeBytes === 0) return { kind: "inline", bytes: new Uint8Array(0) };
    const file = openRegularAt(dirFd, name);
    if (file === undefined) throw changed(name);
    const { fd, status } = file;
    try {
      if (status.inode !== seen.inode || status.sizeBytes !== seen.sizeBytes) throw changed(name);
      const source = contentOf(fd, name, status);
      const stored = await storeContent(source, status.sizeBytes, this.#options);
      this.#contentBytes += stored.contentBytes;
      return stored.content;
    } finally {
      close(fd);
    }
  }
}

function contentOf(fd: number, name: ByteString, status: FileStatus): ContentSource {
  const isSparse = status.blocks512 * 512 < status.sizeBytes;
  return {
    isSparse,
    nextData: (offset) => (isSparse ? seekData(fd, offset) : offset),
    read: (target, offset) => readFully(fd, target, offset, name),
  };
}

function attributesOf(status: FileStatus) {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = status;
  return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds };
}

function deviceOf(status: FileStatus): string {
  return `${status.deviceMajor}:${status.deviceMinor}`;
}

function changed(name: ByteString): AppError {
  return new AppError("failed_precondition", `"${displayName(name)}" changed while it was read`);
}

function readFully(fd: number, target: Buffer, offset: number, name: ByteString): void {
  for (let at = 0; at < target.length;) {
    const count = readSync(fd, target, at, target.length - at, offset + at);
    if (count === 0) throw changed(name);
    at += count;
  }
}

/** A metadata-only copy-up has its content in a lower layer, which this layer cannot know. */
function refuseMetacopy(name: ByteString, xattrs: readonly Xattr[]): void {
  if (!xattrs.some((xattr) => xattr.name === "trusted.overlay.metacopy")) return;
  throw new AppError("unimplemented", `"${displayName(name)}" is a metadata-only copy (metacopy)`, {
    remedy: "mount snapshots with metacopy=off",
  });
}
