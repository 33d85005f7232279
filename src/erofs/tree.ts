/**
 * What a layer consists of, before it becomes an EROFS image: pure data, no addresses of metadata.
 *
 * Vocabulary: an *inode* is a file of any type; a directory maps names to inodes (file-tree.ts);
 * two names of one inode are hard links. Overlay semantics are already in the tree: a whiteout is a
 * character device 0/0, an opaque directory carries `trusted.overlay.opaque=y`.
 *
 * @module
 */
import type { ByteString } from "../util/byte-string.ts";

/** File type bits of `st_mode` (include/uapi/linux/stat.h). */
export const fileType = {
  mask: 0o170000,
  socket: 0o140000,
  symlink: 0o120000,
  regular: 0o100000,
  blockDevice: 0o060000,
  directory: 0o040000,
  characterDevice: 0o020000,
  fifo: 0o010000,
} as const;

export interface Xattr {
  /** The whole name, such as `security.capability`. */
  readonly name: ByteString;
  readonly value: Uint8Array;
}

/**
 * Names a chunk of content towards the writer, which asks its caller for the block address when the
 * image is planned and written: the address of a chunk is settled last. `holeChunk` stands for
 * zeros stored nowhere.
 */
export type ChunkRef = number;

export const holeChunk: ChunkRef = -1;

/** Content kept in the metadata itself, right behind the inode. */
export interface InlineContent {
  readonly kind: "inline";
  readonly bytes: Uint8Array;
}

/**
 * Content in pack blocks: chunk `i` holds bytes `[i * chunkSizeBytes, (i + 1) * chunkSizeBytes)`.
 * What a file leaves of its last block must be zero: who maps the file sees it.
 */
export interface ChunkedContent {
  readonly kind: "chunks";
  /** A power of two, at least one block. */
  readonly chunkSizeBytes: number;
  /** One number where the file has one chunk, which most files have. */
  readonly chunks: ChunkRef | readonly ChunkRef[] | Int32Array;
}

export type FileContent = InlineContent | ChunkedContent;

export interface InodeAttributes {
  /** Type and permission bits, as `st_mode`. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970, may be negative; a safe integer. */
  mtimeSeconds: number;
  /** 0 to 999,999,999. */
  mtimeNanoseconds: number;
  /** Sorted by name, no name twice. */
  xattrs: readonly Xattr[];
}

export interface RegularFile extends InodeAttributes {
  readonly type: "file";
  sizeBytes: number;
  content: FileContent;
}

export interface Directory extends InodeAttributes {
  readonly type: "directory";
}

export interface Symlink extends InodeAttributes {
  readonly type: "symlink";
  readonly target: ByteString;
}

/** A device node, FIFO or socket; `mode` tells which. */
export interface SpecialFile extends InodeAttributes {
  readonly type: "special";
  /** 0 for FIFOs and sockets. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

export type Inode = RegularFile | Directory | Symlink | SpecialFile;

export const noXattrs: readonly Xattr[] = [];
