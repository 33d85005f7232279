/**
 * The inodes of a tar's entries, with their content brought to the chunk store.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { symlinkBytesMax } from "../erofs/format.ts";
import { fileType, noXattrs, type Directory, type Inode, type Xattr } from "../erofs/tree.ts";
import type { TarEntry } from "../tar/entry.ts";
import type { TarReader } from "../tar/reader.ts";
import { assert } from "../util/assert.ts";
import type { ByteString } from "../util/byte-string.ts";
import { type ContentOptions, type ContentSource, storeContent } from "./file-content.ts";
import {
  deviceNumbers,
  idOf,
  mergeXattrs,
  plainDirectoryAttributes,
  setAttributes,
} from "./tar-attributes.ts";
import { chunksPerLayerMax, metadataBytesMax, xattrListBytesMax } from "./tar-limits.ts";
import type { LowerDirectory, LowerFile } from "./tar-lower.ts";
import { pathError } from "./tar-path.ts";
import { XattrLists } from "./xattr-lists.ts";

/** As a new inode has them before its entry's are set. */
const newAttributes = {
  uid: 0,
  gid: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: noXattrs,
} as const;

type InodeAttributes = Pick<Inode, keyof typeof newAttributes | "mode">;

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
  readonly #xattrLists = new XattrLists();
  readonly #reader: TarReader;
  readonly #options: ContentOptions;
  readonly #copies = new Map<string, Inode>();
  #metadataBytes = 0;
  #chunks = 0;

  constructor(reader: TarReader, options: ContentOptions) {
    this.#reader = reader;
    this.#options = options;
  }

  /** Counts what the tree keeps of the tar besides the objects themselves. */
  charge(sizeBytes: number): void {
    this.#metadataBytes += sizeBytes;
    if (this.#metadataBytes <= metadataBytesMax) return;
    const problem = `more than ${metadataBytesMax} bytes of names, attributes and small files`;
    throw new AppError("resource_exhausted", `The layer has ${problem}`);
  }

  makeRoot(attributes: Pick<Directory, "mode" | "uid" | "gid">): Directory {
    const { mode, uid, gid } = attributes;
    return { type: "directory", ...newAttributes, mode, uid, gid, entries: new Map() };
  }

  /** Anything but a hard link; reads the content of a file. */
  async make(entry: TarEntry): Promise<Inode> {
    const inode = await this.#makeBare(entry);
    this.setAttributes(inode, entry);
    return inode;
  }

  /** What the entry says of an inode; extended attributes come on top of those it has. */
  setAttributes(inode: Inode, entry: TarEntry): void {
    setAttributes(inode, entry, this.#xattrLists);
    if (entry.xattrs.length > 0) this.#chargeXattrs(inode.xattrs);
  }

  /** As overlayfs knows it: 0/0, no permissions. */
  makeWhiteout(entry: TarEntry): Inode {
    return {
      type: "special",
      mode: fileType.characterDevice,
      uid: idOf(entry.uid, 0),
      gid: idOf(entry.gid, 0),
      mtimeSeconds: entry.mtimeSeconds,
      mtimeNanoseconds: entry.mtimeNanoseconds,
      xattrs: noXattrs,
      deviceMajor: 0,
      deviceMinor: 0,
    };
  }

  /** A directory that no entry describes, with the attributes of the one it covers. */
  makeParent(covered: LowerDirectory | undefined, parent: Directory, entry: TarEntry): Directory {
    const entries = new Map<ByteString, Inode>();
    if (covered === undefined) {
      return { type: "directory", ...plainDirectoryAttributes(parent, entry), entries };
    }
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = covered;
    const xattrs = covered.xattrs.filter(({ name }) => !name.startsWith("trusted."));
    return {
      type: "directory",
      mode,
      uid,
      gid,
      mtimeSeconds,
      mtimeNanoseconds,
      xattrs: this.#xattrLists.intern(xattrs),
      entries,
    };
  }

  addXattr(inode: Inode, xattr: Xattr): void {
    inode.xattrs = this.#xattrLists.intern(mergeXattrs(inode.xattrs, [xattr]));
  }

  /** A file of the layers below as one of this layer; the same for the same path. */
  async copy(file: LowerFile, path: string): Promise<Inode> {
    const known = this.#copies.get(path);
    if (known !== undefined) return known;
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = file;
    const xattrs = this.#xattrLists.intern(file.xattrs);
    this.#chargeXattrs(xattrs);
    const attributes = { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
    const inode = await this.#copyOf(file, attributes);
    this.#copies.set(path, inode);
    return inode;
  }

  async #copyOf(file: LowerFile, attributes: InodeAttributes): Promise<Inode> {
    switch (file.type) {
      case "file": {
        const { sizeBytes } = file;
        const content = await this.#store(file.content, sizeBytes);
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
        return this.makeRoot({ mode: fileType.directory, uid: 0, gid: 0 });
      case "file": {
        const { sizeBytes } = entry;
        const content = await this.#store(contentOf(this.#reader, sizeBytes), sizeBytes);
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

  #chargeXattrs(xattrs: readonly Xattr[]): void {
    const sizeBytes = xattrs.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
    if (sizeBytes > xattrListBytesMax) throw pathError(`${sizeBytes} bytes of extended attributes`);
    this.charge(sizeBytes);
  }

  async #store(source: ContentSource, sizeBytes: number) {
    this.#chunks += Math.ceil(sizeBytes / this.#options.chunkBytes);
    if (this.#chunks > chunksPerLayerMax) {
      throw new AppError(
        "resource_exhausted",
        `The layer has more than ${chunksPerLayerMax} chunks`,
      );
    }
    const { content, contentBytes } = await storeContent(source, sizeBytes, this.#options);
    if (content.kind === "inline") this.charge(content.bytes.length);
    this.contentBytes += contentBytes;
    return content;
  }
}

/** The content of the entry at hand. */
function contentOf(reader: TarReader, sizeBytes: number): ContentSource {
  let position = 0;
  return {
    isSparse: reader.isSparse,
    nextData(offset) {
      assert(offset === position, "a tar is read in order");
      const data = offset + reader.holeBytes();
      return data < sizeBytes ? data : undefined;
    },
    async read(target, offset) {
      reader.skipHole(offset - position);
      const count = await reader.readContent(target);
      assert(count === target.length, "the content is as long as its entry says");
      position = offset + count;
    },
  };
}
