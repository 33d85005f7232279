/**
 * The inodes of a tree, in columns: a layer may hold a million, and as objects each of them would
 * cost half a kilobyte. An inode is known by its row; what is given out as an object is a copy.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { assert, unreachable } from "../util/assert.ts";
import type { ByteString } from "../util/byte-string.ts";
import { ByteSlabs } from "../util/byte-slabs.ts";
import { columnRowsMin, grownColumn } from "../util/columns.ts";
import { inodeProblem } from "./check-inode.ts";
import { decodeDeviceNumber, encodeDeviceNumber } from "./inode-record.ts";
import {
  type ChunkedContent,
  type ChunkRef,
  type FileContent,
  type Inode,
  type InodeAttributes,
  noXattrs,
  type Xattr,
} from "./tree.ts";

/** Names an inode of a tree. */
export type InodeRef = number;

/** Where a tree keeps the content of files that lies in the image itself. */
export interface ByteStore {
  /** Keeps a copy; returns its address, below 2³². */
  add(bytes: Uint8Array): number;
  /** Valid until the next call. */
  bytesAt(address: number, lengthBytes: number): Uint8Array;
}

/** What an inode is, and for a file how its content is kept. */
const kind = { inline: 0, oneChunk: 1, chunks: 2, directory: 3, symlink: 4, special: 5 } as const;

export class InodeTable {
  #length = 0;
  #kinds = new Uint8Array(columnRowsMin);
  #modes = new Uint16Array(columnRowsMin);
  #uids = new Uint32Array(columnRowsMin);
  #gids = new Uint32Array(columnRowsMin);
  #seconds = new Float64Array(columnRowsMin);
  #nanoseconds = new Uint32Array(columnRowsMin);
  #xattrs = new Uint32Array(columnRowsMin);
  /** Of files, and of the targets of symlinks. */
  #sizesBytes = new Float64Array(columnRowsMin);
  /** By kind: an address of bytes, a chunk, a place in `#chunks`, a device number. */
  #contents = new Uint32Array(columnRowsMin);
  #chunkBits = new Uint8Array(columnRowsMin);
  readonly #inline: ByteStore;
  readonly #targets = new ByteSlabs();
  readonly #chunks: (readonly ChunkRef[] | Int32Array)[] = [];
  readonly #xattrLists: (readonly Xattr[])[] = [noXattrs];
  readonly #xattrNumbers = new Map<readonly Xattr[], number>();

  constructor(inline: ByteStore) {
    this.#inline = inline;
  }

  get length(): number {
    return this.#length;
  }

  /** Throws AppError `invalid_argument` for what Linux does not know. */
  add(inode: Inode): InodeRef {
    const problem = inodeProblem(inode);
    if (problem !== undefined) throw invalidInode(problem);
    if (this.#length === this.#kinds.length) this.#grow(2 * this.#length);
    const ref = this.#length++;
    this.#writeAttributes(ref, inode);
    this.#writeContent(ref, inode);
    return ref;
  }

  /** All of the inode, as a copy. */
  get(ref: InodeRef): Inode {
    const attributes = this.#attributesOf(ref);
    switch (this.#kinds[ref]) {
      case kind.directory:
        return { type: "directory", ...attributes };
      case kind.symlink:
        return { type: "symlink", ...attributes, target: this.symlinkTarget(ref) ?? noTarget };
      case kind.special: {
        const { major, minor } = decodeDeviceNumber(this.#contents[ref]!);
        return { type: "special", ...attributes, deviceMajor: major, deviceMinor: minor };
      }
      default: {
        const sizeBytes = this.#sizesBytes[ref]!;
        return { type: "file", ...attributes, sizeBytes, content: this.#contentOf(ref) };
      }
    }
  }

  /** Throws as `add`; the type stays. */
  setAttributes(ref: InodeRef, attributes: InodeAttributes): void {
    const problem = inodeProblem({ ...this.get(ref), ...attributes });
    if (problem !== undefined) throw invalidInode(problem);
    this.#writeAttributes(ref, attributes);
  }

  /** Gives a file the same content in another place: its size stays. */
  setContent(ref: InodeRef, content: FileContent): void {
    const inode = this.get(ref);
    assert(inode.type === "file", "files have content");
    const problem = inodeProblem({ ...inode, content });
    if (problem !== undefined) throw invalidInode(problem);
    this.#writeFileContent(ref, content);
  }

  modeOf(ref: InodeRef): number {
    return this.#modes[ref]!;
  }

  uidOf(ref: InodeRef): number {
    return this.#uids[ref]!;
  }

  gidOf(ref: InodeRef): number {
    return this.#gids[ref]!;
  }

  secondsOf(ref: InodeRef): number {
    return this.#seconds[ref]!;
  }

  nanosecondsOf(ref: InodeRef): number {
    return this.#nanoseconds[ref]!;
  }

  xattrsOf(ref: InodeRef): readonly Xattr[] {
    return this.#xattrLists[this.#xattrs[ref]!]!;
  }

  isDirectory(ref: InodeRef): boolean {
    return this.#kinds[ref] === kind.directory;
  }

  /** `i_size` of anything but a directory. */
  sizeOf(ref: InodeRef): number {
    return this.#sizesBytes[ref]!;
  }

  /** Undefined where the inode is no symlink. */
  symlinkTarget(ref: InodeRef): ByteString | undefined {
    if (this.#kinds[ref] !== kind.symlink) return undefined;
    return this.#targets.stringAt(this.#contents[ref]!, this.#sizesBytes[ref]!) as ByteString;
  }

  /** As `encodeDeviceNumber` has it; undefined where the inode is no special file. */
  deviceOf(ref: InodeRef): number | undefined {
    return this.#kinds[ref] === kind.special ? this.#contents[ref]! : undefined;
  }

  /** Content in the image, valid until the next call; undefined where the inode has no such. */
  inlineOf(ref: InodeRef): Uint8Array | undefined {
    if (this.#kinds[ref] !== kind.inline) return undefined;
    return this.#inline.bytesAt(this.#contents[ref]!, this.#sizesBytes[ref]!);
  }

  /** Undefined where the inode has no chunks. */
  chunksOf(ref: InodeRef): ChunkedContent | undefined {
    const content = this.#contents[ref]!;
    const isOne = this.#kinds[ref] === kind.oneChunk;
    const chunks = isOne ? content | 0 : this.#chunks[content];
    if ((!isOne && this.#kinds[ref] !== kind.chunks) || chunks === undefined) return undefined;
    return { kind: "chunks", chunkSizeBytes: 2 ** this.#chunkBits[ref]!, chunks };
  }

  #contentOf(ref: InodeRef): FileContent {
    const chunks = this.chunksOf(ref);
    if (chunks !== undefined) return chunks;
    return { kind: "inline", bytes: Buffer.from(this.inlineOf(ref) ?? []) };
  }

  #attributesOf(ref: InodeRef): InodeAttributes {
    return {
      mode: this.#modes[ref]!,
      uid: this.#uids[ref]!,
      gid: this.#gids[ref]!,
      mtimeSeconds: this.#seconds[ref]!,
      mtimeNanoseconds: this.#nanoseconds[ref]!,
      xattrs: this.xattrsOf(ref),
    };
  }

  #writeAttributes(ref: InodeRef, attributes: InodeAttributes): void {
    this.#modes[ref] = attributes.mode;
    this.#uids[ref] = attributes.uid;
    this.#gids[ref] = attributes.gid;
    this.#seconds[ref] = attributes.mtimeSeconds;
    this.#nanoseconds[ref] = attributes.mtimeNanoseconds;
    this.#xattrs[ref] = this.#xattrNumber(attributes.xattrs);
  }

  #writeContent(ref: InodeRef, inode: Inode): void {
    switch (inode.type) {
      case "file":
        this.#sizesBytes[ref] = inode.sizeBytes;
        this.#writeFileContent(ref, inode.content);
        return;
      case "directory":
        this.#kinds[ref] = kind.directory;
        return;
      case "symlink":
        this.#kinds[ref] = kind.symlink;
        this.#sizesBytes[ref] = inode.target.length;
        this.#contents[ref] = this.#targets.addString(inode.target);
        return;
      case "special":
        this.#kinds[ref] = kind.special;
        this.#contents[ref] = encodeDeviceNumber(inode.deviceMajor, inode.deviceMinor);
        return;
      default:
        return unreachable(inode);
    }
  }

  #writeFileContent(ref: InodeRef, content: FileContent): void {
    if (content.kind === "inline") {
      this.#kinds[ref] = kind.inline;
      this.#contents[ref] = this.#inline.add(content.bytes);
      return;
    }
    this.#chunkBits[ref] = Math.log2(content.chunkSizeBytes);
    if (typeof content.chunks === "number") {
      this.#kinds[ref] = kind.oneChunk;
      this.#contents[ref] = content.chunks;
      return;
    }
    this.#kinds[ref] = kind.chunks;
    this.#contents[ref] = this.#chunks.push(content.chunks) - 1;
  }

  /** Lists are told apart by identity: trees share one array among inodes with equal xattrs. */
  #xattrNumber(xattrs: readonly Xattr[]): number {
    if (xattrs.length === 0) return 0;
    let number = this.#xattrNumbers.get(xattrs);
    if (number === undefined) {
      number = this.#xattrLists.push(xattrs) - 1;
      this.#xattrNumbers.set(xattrs, number);
    }
    return number;
  }

  #grow(rows: number): void {
    this.#kinds = grownColumn(this.#kinds, rows);
    this.#modes = grownColumn(this.#modes, rows);
    this.#uids = grownColumn(this.#uids, rows);
    this.#gids = grownColumn(this.#gids, rows);
    this.#seconds = grownColumn(this.#seconds, rows);
    this.#nanoseconds = grownColumn(this.#nanoseconds, rows);
    this.#xattrs = grownColumn(this.#xattrs, rows);
    this.#sizesBytes = grownColumn(this.#sizesBytes, rows);
    this.#contents = grownColumn(this.#contents, rows);
    this.#chunkBits = grownColumn(this.#chunkBits, rows);
  }
}

const noTarget = "" as ByteString;

function invalidInode(problem: string): AppError {
  return new AppError("invalid_argument", `Not an inode: ${problem}`);
}
