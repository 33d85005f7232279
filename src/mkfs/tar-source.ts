/**
 * A layer as the tar that mkfs.erofs reads: not the tar of its blob, but one that says the same in
 * the plainest way.
 *
 * Blobs replace and delete their own entries, leave out directories, link to files of the layers
 * below and follow symlinks; how containerd understands all that is settled in the tree. So nothing
 * is left to mkfs.erofs but to copy: whiteouts are device nodes already, not names.
 *
 * @module
 */
import type { FileTree } from "../erofs/file-tree.ts";
import { fileType, holeChunk, type Inode, type RegularFile } from "../erofs/tree.ts";
import { typeFlag } from "../tar/format.ts";
import { archiveEnd, contentPadding, entryHeader, type WrittenEntry } from "../tar/write.ts";
import { byteStringOfText, displayName, type ByteString } from "../util/byte-string.ts";
import { MiB } from "../util/bytes.ts";
import type { ContentSpool } from "./content-spool.ts";
import type { MkfsTool } from "./tool.ts";
import { type TreeName, walkTree } from "./walk-tree.ts";
import type { LayerTree } from "../layer/directory-tree.ts";

/** Small entries go out together: a pipe takes its time for each piece. */
const pieceBytesMin = MiB;
const rootName = byteStringOfText("./");

/** Each piece is the caller's. */
export function* tarOf({ tree }: LayerTree, spool: ContentSpool): Generator<Uint8Array, void> {
  let parts: Uint8Array[] = [];
  let partsBytes = 0;
  for (const part of tarParts(tree, spool)) {
    parts.push(part);
    partsBytes += part.length;
    if (partsBytes < pieceBytesMin) continue;
    yield Buffer.concat(parts);
    parts = [];
    partsBytes = 0;
  }
  yield Buffer.concat(parts);
}

function* tarParts(tree: FileTree, spool: ContentSpool): Generator<Uint8Array, void> {
  for (const name of walkTree(tree)) {
    yield entryHeader(entryOf(name));
    const { inode, linkOf } = name;
    if (inode.type !== "file" || linkOf !== undefined) continue;
    for (const { bytes, sizeBytes } of spool.piecesOf(inode)) yield bytes ?? zeros(sizeBytes);
    yield new Uint8Array(contentPadding(inode.sizeBytes));
  }
  yield archiveEnd;
}

/** Chunks are small, and so is a hole of one. */
function zeros(sizeBytes: number): Uint8Array {
  return new Uint8Array(sizeBytes);
}

/** Zeros that mkfs.erofs would have to be sent and would have to compress. */
const holeBytesMax = 256 * MiB;

/** What of the tree cannot reach mkfs.erofs in this way; undefined where all of it can. */
export function refusalOf({ tree }: LayerTree, source: MkfsTool["source"]): string | undefined {
  const isTar = source === "tar";
  let holeBytes = 0;
  for (const { path, inode, linkOf } of walkTree(tree)) {
    const where = `"${displayName(path)}"`;
    const isSocket = (inode.mode & fileType.mask) === fileType.socket;
    if (isTar && isSocket) return `a socket, ${where}, which no tar can hold`;
    const isFractional = inode.mtimeSeconds < 0 && inode.mtimeNanoseconds > 0;
    if (isTar && isFractional)
      return `a fraction of a second before 1970, of ${where}, which gets its sign`;
    if (inode.type === "file" && linkOf === undefined) holeBytes += holeBytesOf(inode);
    if (holeBytes > holeBytesMax) return `more than ${holeBytesMax} bytes of holes, in ${where}`;
  }
  return undefined;
}

/** At most; the last chunk of a file may be shorter. */
function holeBytesOf({ content }: RegularFile): number {
  if (content.kind === "inline") return 0;
  const { chunks, chunkSizeBytes } = content;
  if (typeof chunks === "number") return chunks === holeChunk ? chunkSizeBytes : 0;
  let holes = 0;
  for (const ref of chunks) if (ref === holeChunk) holes += 1;
  return holes * chunkSizeBytes;
}

function entryOf({ path, inode, linkOf }: TreeName): WrittenEntry {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs } = inode;
  const name = inode.type === "directory" ? directoryName(path) : path;
  const times = { mtimeSeconds, mtimeNanoseconds };
  const common = { name, mode: mode & 0o7777, uid, gid, ...times, xattrs };
  if (linkOf !== undefined) return { ...common, flag: typeFlag.hardLink, linkName: linkOf };
  return { ...common, ...kindOf(inode) };
}

function directoryName(path: ByteString): ByteString {
  return path === "" ? rootName : (`${path}/` as ByteString);
}

function kindOf(
  inode: Inode,
): Pick<WrittenEntry, "flag" | "linkName" | "sizeBytes" | "deviceMajor" | "deviceMinor"> {
  switch (inode.type) {
    case "directory":
      return { flag: typeFlag.directory };
    case "file":
      return { flag: typeFlag.regular, sizeBytes: inode.sizeBytes };
    case "symlink":
      return { flag: typeFlag.symlink, linkName: inode.target };
    default: {
      const { deviceMajor, deviceMinor } = inode;
      return { flag: specialFlag(inode.mode), deviceMajor, deviceMinor };
    }
  }
}

function specialFlag(mode: number): WrittenEntry["flag"] {
  const type = mode & fileType.mask;
  if (type === fileType.fifo) return typeFlag.fifo;
  return type === fileType.blockDevice ? typeFlag.blockDevice : typeFlag.characterDevice;
}
