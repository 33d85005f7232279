/**
 * A tree made from a tar in the form in which trees are compared, and what must differ from the
 * tree containerd unpacks.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { FileTree } from "../../../src/erofs/file-tree.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import { displayName } from "../../../src/util/byte-string.ts";
import { contentFacts, type FileFacts, octalMode, type Tree } from "../image/model.ts";
import type { MemorySink } from "./memory-sink.ts";
import { fromFileTree, type Inode } from "../tree-objects.ts";

const specialNames: Readonly<Record<number, string>> = {
  [fileType.characterDevice]: "character device",
  [fileType.blockDevice]: "block device",
  [fileType.fifo]: "fifo",
};

function typeAndContent(inode: Inode, sink: MemorySink): readonly [string, string] {
  switch (inode.type) {
    case "file": {
      const hash = createHash("sha256");
      for (const piece of sink.content(inode.content, inode.sizeBytes)) hash.update(piece);
      return ["file", contentFacts(inode.sizeBytes, hash)];
    }
    case "directory":
      return ["directory", ""];
    case "symlink":
      return ["symlink", `to ${displayName(inode.target)}`];
    default: {
      const type = specialNames[inode.mode & fileType.mask] ?? "unknown";
      return [type, type === "fifo" ? "" : `${inode.deviceMajor}:${inode.deviceMinor}`];
    }
  }
}

function factsOf(inode: Inode, sink: MemorySink): FileFacts {
  const [type, content] = typeAndContent(inode, sink);
  const xattrs = inode.xattrs.map(
    ({ name, value }) => [displayName(name), Buffer.from(value).toString("hex")] as const,
  );
  return {
    type,
    mode: octalMode(inode.mode),
    owner: `${inode.uid}:${inode.gid}`,
    mtimeNs: BigInt(inode.mtimeSeconds) * 1_000_000_000n + BigInt(inode.mtimeNanoseconds),
    xattrs: Object.fromEntries(xattrs.sort(([left], [right]) => (left < right ? -1 : 1))),
    content,
  };
}

/** The facts by path, in the form of `readTree` of `support/tree.ts`. */
export function factsOfTree(built: FileTree, sink: MemorySink): Tree {
  const inodes = new Map<string, Inode>([["", fromFileTree(built)]]);
  const names = new Map<Inode, string[]>();
  for (const [folder, inode] of inodes) {
    if (inode.type !== "directory") continue;
    for (const [name, child] of inode.entries) {
      const path = folder === "" ? name : `${folder}/${name}`;
      inodes.set(path, child);
      if (child.type !== "directory") names.set(child, [...(names.get(child) ?? []), path]);
    }
  }
  const tree = new Map<string, FileFacts>();
  for (const [path, inode] of inodes) {
    const links = (names.get(inode) ?? []).sort();
    const facts = factsOf(inode, sink);
    tree.set(path, links.length > 1 ? { ...facts, linkedWith: links[0] } : facts);
  }
  return tree;
}

/** Tests use no time after this one, but for what a differ stamps with the present. */
const presentNs = 1_750_000_000_000_000_000n;

/**
 * What `buildTarTree` promises where it does not do as containerd: times that containerd takes from
 * the clock are those of the tar, times before 1970 stay, and `trusted.*` stays.
 *
 * @returns both trees with these differences taken out
 */
export function withoutDeviations(unpacked: Tree, built: Tree): readonly [Tree, Tree] {
  const expected = new Map<string, FileFacts>();
  const actual = new Map<string, FileFacts>();
  for (const [path, facts] of unpacked) {
    expected.set(path, facts.mtimeNs > presentNs ? { ...facts, mtimeNs: 0n } : facts);
  }
  for (const [path, facts] of built) {
    const xattrs = Object.entries(facts.xattrs).filter(
      ([name]) => !name.startsWith("trusted.") || name === "trusted.overlay.opaque",
    );
    const isClock = (unpacked.get(path)?.mtimeNs ?? 0n) > presentNs;
    const mtimeNs = isClock || facts.mtimeNs < 0n ? 0n : facts.mtimeNs;
    actual.set(path, { ...facts, mtimeNs, xattrs: Object.fromEntries(xattrs) });
  }
  return [expected, actual];
}
