/**
 * Reads a mounted tree into facts that can be compared.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readSync } from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import { readDirectory } from "../../ffi/directory.ts";
import { close, open, openDirectoryAt, openRegularAt, readLinkAt } from "../../ffi/file.ts";
import { type FileStatus, statAt } from "../../ffi/status.ts";
import { listXattrs } from "../../ffi/xattr.ts";
import { fileType } from "../../src/erofs/tree.ts";
import { type ByteString, displayName } from "../../src/util/byte-string.ts";
import { MiB } from "../../src/util/bytes.ts";
import { defined } from "../../src/util/assert.ts";
import { type FileFacts, type Tree, contentFacts, octalMode } from "./image/model.ts";

function readContent(dirFd: number, name: ByteString): string {
  const file = defined(openRegularAt(dirFd, name), "a regular file");
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.alloc(MiB);
    for (;;) {
      const length = readSync(file.fd, buffer, 0, buffer.length, null);
      if (length === 0) break;
      hash.update(buffer.subarray(0, length));
    }
    return contentFacts(file.status.sizeBytes, hash);
  } finally {
    close(file.fd);
  }
}

function typeAndContent(
  dirFd: number,
  name: ByteString,
  status: FileStatus,
): readonly [string, string] {
  const numbers = `${status.nodeMajor}:${status.nodeMinor}`;
  switch (status.mode & fileType.mask) {
    case fileType.regular:
      return ["file", readContent(dirFd, name)];
    case fileType.directory:
      return ["directory", ""];
    case fileType.symlink:
      return ["symlink", `to ${displayName(readLinkAt(dirFd, name))}`];
    case fileType.characterDevice:
      return ["character device", numbers];
    case fileType.blockDevice:
      return ["block device", numbers];
    case fileType.fifo:
      return ["fifo", ""];
    default:
      return ["socket", ""];
  }
}

interface Found {
  readonly facts: FileFacts;
  /** Equal for the names of one file; undefined for directories. */
  readonly identity: string | undefined;
}

function readFacts(dirFd: number, name: ByteString): Found {
  const status = statAt(dirFd, name);
  const [type, content] = typeAndContent(dirFd, name, status);
  const xattrs = listXattrs(dirFd, name).map(
    (xattr) => [displayName(xattr.name), Buffer.from(xattr.value).toString("hex")] as const,
  );
  const { deviceMajor, deviceMinor, inode } = status;
  return {
    identity: type === "directory" ? undefined : `${deviceMajor}:${deviceMinor}:${inode}`,
    facts: {
      type,
      mode: octalMode(status.mode),
      owner: `${status.uid}:${status.gid}`,
      mtimeNs: BigInt(status.mtimeSeconds) * 1_000_000_000n + BigInt(status.mtimeNanoseconds),
      xattrs: Object.fromEntries(xattrs.sort(([left], [right]) => (left < right ? -1 : 1))),
      content,
    },
  };
}

function walk(dirFd: number, folder: string, found: Map<string, Found>): void {
  for (const { name } of readDirectory(dirFd)) {
    const path = folder === "" ? name : `${folder}/${name}`;
    const entry = readFacts(dirFd, name);
    found.set(path, entry);
    if (entry.facts.type !== "directory") continue;
    const below = openDirectoryAt(dirFd, name);
    try {
      walk(below, path, found);
    } finally {
      close(below);
    }
  }
}

/** The paths of each file that has more than one, in order. */
function linkGroups(found: ReadonlyMap<string, Found>): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const path of [...found.keys()].sort()) {
    const identity = found.get(path)?.identity;
    if (identity === undefined) continue;
    const group = groups.get(identity);
    if (group === undefined) groups.set(identity, [path]);
    else group.push(path);
  }
  return groups;
}

/** All files below a folder, which nobody may change meanwhile; the folder is the empty path. */
export function readTree(folder: string): Tree {
  const found = new Map<string, Found>();
  const root = open(folder, openFlag.readOnly | openFlag.directory);
  try {
    found.set("", readFacts(root, "." as ByteString));
    walk(root, "", found);
  } finally {
    close(root);
  }
  const groups = linkGroups(found);
  const tree = new Map<string, FileFacts>();
  for (const [path, { facts, identity = "" }] of found) {
    const [first, second] = groups.get(identity) ?? [];
    const isLinked = first !== undefined && second !== undefined;
    tree.set(path, isLinked ? { ...facts, linkedWith: first } : facts);
  }
  return tree;
}
