/**
 * What a mounted tree shows, and what a planned tree promises of it, in one form.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { openFlag } from "../../../ffi/constants.ts";
import { readDirectory } from "../../../ffi/directory.ts";
import { close, open, openDirectoryAt, openRegularAt, readLinkAt } from "../../../ffi/file.ts";
import { type FileStatus, statAt } from "../../../ffi/status.ts";
import { listXattrs } from "../../../ffi/xattr.ts";
import type { BlockOf } from "../../../src/erofs/chunk-map.ts";
import { fileType, holeChunk, type RegularFile } from "../../../src/erofs/tree.ts";
import { defined } from "../../../src/util/assert.ts";
import { type ByteString, compareByteStrings } from "../../../src/util/byte-string.ts";
import { describeTree, describeXattr, type InodeFacts, type TreeFacts } from "./tree-facts.ts";
import type { Directory } from "../../support/tree-objects.ts";

/** Everything below a folder; nobody may change it meanwhile. */
export function factsOfFolder(path: string): TreeFacts {
  const facts = new Map<string, InodeFacts>();
  const firstPaths = new Map<bigint, string>();
  const fd = open(path, openFlag.readOnly | openFlag.directory);
  try {
    facts.set("/", factsAt(fd, "." as ByteString, "/", firstPaths));
    visitFolder(fd, "", facts, firstPaths);
  } finally {
    close(fd);
  }
  return facts;
}

/** `blockContent` is asked with unified addresses. */
export function factsOfPlannedTree(
  root: Directory,
  blockOf: BlockOf,
  blockContent: (block: number) => Uint8Array,
): TreeFacts {
  const facts = describeTree(root, (inode) => {
    if (inode.type === "special") return [`${inode.deviceMajor}:${inode.deviceMinor}`];
    if (inode.type === "directory") return [];
    if (inode.type === "symlink") return [inode.target];
    return describeContent(contentOf(inode, blockOf, blockContent));
  });
  return new Map([...facts].map(([path, entry]) => [path, withoutHidden(entry)]));
}

function visitFolder(
  fd: number,
  folder: string,
  facts: Map<string, InodeFacts>,
  firstPaths: Map<bigint, string>,
): void {
  const entries = readDirectory(fd);
  entries.sort((left, right) => compareByteStrings(left.name, right.name));
  for (const { name, type } of entries) {
    const path = `${folder}/${name}`;
    facts.set(path, factsAt(fd, name, path, firstPaths));
    if (type !== fileType.directory) continue;
    const below = openDirectoryAt(fd, name);
    try {
      visitFolder(below, path, facts, firstPaths);
    } finally {
      close(below);
    }
  }
}

function factsAt(
  fd: number,
  name: ByteString,
  path: string,
  firstPaths: Map<bigint, string>,
): InodeFacts {
  const status = statAt(fd, name);
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, linkCount } = status;
  const linkOf = firstPaths.get(status.inode);
  if (linkOf === undefined) firstPaths.set(status.inode, path);
  return {
    attributes: [mode, uid, gid, mtimeSeconds, mtimeNanoseconds, linkCount],
    xattrs: listXattrs(fd, name).map(describeXattr),
    content: contentAt(fd, name, status),
    linkOf,
  };
}

function contentAt(fd: number, name: ByteString, status: FileStatus): string[] {
  switch (status.mode & fileType.mask) {
    case fileType.directory:
      return [];
    case fileType.symlink:
      return [readLinkAt(fd, name)];
    case fileType.regular: {
      const file = defined(openRegularAt(fd, name), "a regular file").fd;
      try {
        return describeContent(readFileSync(file));
      } finally {
        close(file);
      }
    }
    default:
      return [`${status.nodeMajor}:${status.nodeMinor}`];
  }
}

function describeContent(bytes: Uint8Array): string[] {
  return [`${bytes.length} bytes ${Bun.hash.wyhash(bytes).toString(16)}`];
}

function contentOf(
  { content, sizeBytes }: RegularFile,
  blockOf: BlockOf,
  blockContent: (block: number) => Uint8Array,
): Uint8Array {
  if (content.kind === "inline") return content.bytes;
  const bytes = Buffer.alloc(Math.ceil(sizeBytes / 4096) * 4096);
  const { chunks, chunkSizeBytes } = content;
  for (let offset = 0; offset < sizeBytes; offset += 4096) {
    const chunk = Math.floor(offset / chunkSizeBytes);
    const ref = typeof chunks === "number" ? chunks : chunks[chunk]!;
    if (ref === holeChunk) continue;
    const block = blockOf(ref) + (offset - chunk * chunkSizeBytes) / 4096;
    bytes.set(blockContent(block), offset);
  }
  return bytes.subarray(0, sizeBytes);
}

/** Linux shows attributes of the `user.` namespace on files and directories only (xattr(7)). */
function withoutHidden(facts: InodeFacts): InodeFacts {
  const type = facts.attributes[0]! & fileType.mask;
  if (type === fileType.regular || type === fileType.directory) return facts;
  return { ...facts, xattrs: facts.xattrs.filter((entry) => !entry.startsWith("user.")) };
}
