/**
 * The tree that the layers of an image describe: what the kernel has to show.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { type ByteString, displayName } from "../../../src/util/byte-string.ts";
import type { Attributes, Layer, LayerEntry } from "./layer.ts";

/** One file of a tree, in the form in which two trees are compared. */
export interface FileFacts {
  readonly type: string;
  /** Permission bits, octal. */
  readonly mode: string;
  readonly owner: string;
  readonly mtimeNs: bigint;
  /** Name to value in hexadecimal. */
  readonly xattrs: Readonly<Record<string, string>>;
  /** Size and SHA-256, target of a symlink, or device numbers. */
  readonly content: string;
  /** The first of all names of the file, in order, if it has more than one. */
  readonly linkedWith?: string | undefined;
}

/** Facts by path; the root is the empty path. */
export type Tree = ReadonlyMap<string, FileFacts>;

/** @param hash SHA-256, fed with the content */
export function contentFacts(sizeBytes: number, hash: Hash): string {
  return `${sizeBytes} bytes ${hash.digest("hex")}`;
}

export function octalMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

type Node = Exclude<LayerEntry, { readonly type: "whiteout" | "opaque" | "hard link" }>;

/**
 * Who makes files of a layer's tar. containerd's own differ loses some of it before a snapshotter
 * sees it (archive/tar_unix.go, archive/tar.go): attributes of the `trusted.` namespace, and times
 * before 1970. Ours does not.
 */
export type Differ = "containerd" | "ours";

function asUnpacked(attributes: Attributes, differ: Differ): Pick<FileFacts, "mtimeNs" | "xattrs"> {
  const isLossy = differ === "containerd";
  const kept = Object.entries(attributes.xattrs).filter(
    ([name]) => !(isLossy && name.startsWith("trusted.")),
  );
  return {
    mtimeNs: isLossy && attributes.mtimeNs < 0n ? 0n : attributes.mtimeNs,
    xattrs: Object.fromEntries(
      kept
        .map(([name, value]) => [name, Buffer.from(value).toString("hex")] as const)
        .sort(([left], [right]) => (left < right ? -1 : 1)),
    ),
  };
}

function nodeContent(node: Node): string {
  if (node.type === "file")
    return contentFacts(node.content.length, createHash("sha256").update(node.content));
  if (node.type === "symlink") return `to ${displayName(node.target)}`;
  if (node.type === "character device" || node.type === "block device") {
    return `${node.major}:${node.minor}`;
  }
  return "";
}

function removeBelow(nodes: Map<string, Node>, path: string, keep: ReadonlySet<string>): void {
  const prefix = path === "" ? "" : `${path}/`;
  for (const name of nodes.keys()) {
    if (name !== "" && name.startsWith(prefix) && !keep.has(name)) nodes.delete(name);
  }
}

function applyEntry(nodes: Map<string, Node>, entry: LayerEntry, ownPaths: Set<string>): void {
  if (entry.type === "opaque") return removeBelow(nodes, entry.path, ownPaths);
  if (entry.type === "whiteout") {
    nodes.delete(entry.path);
    return removeBelow(nodes, entry.path, ownPaths);
  }
  ownPaths.add(entry.path);
  if (entry.type === "hard link") {
    const target = nodes.get(entry.target);
    if (target === undefined) throw new Error(`hard link to a missing ${entry.target}`);
    nodes.set(entry.path, target);
    return;
  }
  if (entry.type !== "directory") removeBelow(nodes, entry.path, new Set());
  nodes.set(entry.path, entry);
}

/** The first name, in order, of every file that has several. */
function linkGroups(nodes: ReadonlyMap<string, Node>): Map<Node, string> {
  const first = new Map<Node, string>();
  const linked = new Map<Node, string>();
  for (const [path, node] of [...nodes].sort(([left], [right]) => (left < right ? -1 : 1))) {
    const name = first.get(node);
    if (name === undefined) first.set(node, path);
    else linked.set(node, name);
  }
  return linked;
}

/** The tree after all layers, as the differ lets it be. */
export function expectedTree(layers: readonly Layer[], differ: Differ): Tree {
  const nodes = new Map<string, Node>();
  for (const layer of layers) {
    const ownPaths = new Set<string>();
    for (const entry of layer) applyEntry(nodes, entry, ownPaths);
  }
  const groups = linkGroups(nodes);
  const tree = new Map<string, FileFacts>();
  for (const [path, node] of nodes) {
    const group = groups.get(node);
    tree.set(path, {
      type: node.type,
      mode: node.type === "symlink" ? "0777" : octalMode(node.mode),
      owner: `${node.uid}:${node.gid}`,
      ...asUnpacked(node, differ),
      content: nodeContent(node),
      ...(group === undefined ? {} : { linkedWith: group }),
    });
  }
  return tree;
}

function showFacts(path: string, facts: FileFacts | undefined): string {
  if (facts === undefined) return "nothing";
  // Unpacking a layer above changes the root without setting its time back.
  const { mtimeNs, ...others } = facts;
  const shown = path === "" ? others : { mtime: mtimeNs.toString(), ...others };
  return JSON.stringify(shown);
}

/** What differs, two lines per path; empty where the trees are equal. */
export function treeDifferences(expected: Tree, actual: Tree): string[] {
  const paths = [...new Set([...expected.keys(), ...actual.keys()])].sort();
  return paths.flatMap((path) => {
    const [left, right] = [expected, actual].map((tree) => showFacts(path, tree.get(path)));
    const name = JSON.stringify(displayName(path as ByteString));
    return left === right ? [] : [`${name}: expected ${left}`, `${name}: actual   ${right}`];
  });
}
